package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// database is what is known of one *sql.DB.
type database struct {
	tables  table.Cache[tableKey, selects]
	session table.Session
	callers keyqueue.Queue[holding.Lock] // of this process, each lock's in their order of arrival
	galera  atomic.Pointer[bool]         // nil until somebody has asked
}

var databases perdb.Map[database]

func databaseOf(db *sql.DB) *database { return databases.Of(db, nil) }

// isGalera reports whether the server is a node of a Galera cluster, asking it over tx if nobody has yet.
func (d *database) isGalera(ctx context.Context, tx nogap.Tx) (bool, error) {
	if known := d.galera.Load(); known != nil {
		return *known, nil
	}
	var variable, value string
	err := txn.In(tx).Read(ctx, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'", nil, &variable, &value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	on := value == "ON"
	d.galera.Store(&on)
	return on, nil
}
