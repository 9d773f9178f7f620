package pessimistic

import (
	"database/sql"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/table"
)

// database is what is known of one *sql.DB.
type database struct {
	tables  table.Cache[tableKey, selects]
	callers keyqueue.Queue[holding.Lock] // of this process, each lock's in their order of arrival
	patient atomic.Bool                  // a call has failed in the server for what it would not have failed for in callers
}

var databases perdb.Map[database]

func databaseOf(db *sql.DB) *database { return databases.Of(db, nil) }
