package pessimistic

import (
	"database/sql"

	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/table"
)

// database is what is known of one *sql.DB.
type database struct {
	tables  table.Cache[tableKey, selects]
	callers keyqueue.Queue[holding.Lock] // of this process, each lock's in their order of arrival
}

var databases perdb.Map[database]

func databaseOf(db *sql.DB) *database { return databases.Of(db, nil) }
