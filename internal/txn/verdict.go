package txn

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
)

// unsent reports whether err proves that nothing of the statement has reached the server.
func unsent(db *sql.DB, err error) bool {
	if errors.Is(err, sql.ErrConnDone) {
		return true // the pool was closed; the driver was not called
	}
	var safe interface{ SafeToRetry() bool }
	if errors.As(err, &safe) && safe.SafeToRetry() {
		return true // pgx
	}
	return errors.Is(err, driver.ErrBadConn) && honestBadConn[driverPackage(db)]
}

// honestBadConn names the packages of the drivers that return driver.ErrBadConn only if nothing was sent, which is what
// database/sql asks for. lib/pq isn't among them: it also turns a connection that died in mid-statement into it
// (lib/pq#939). Nor is any wrapper, since what it wraps is not known.
var honestBadConn = map[string]bool{
	"github.com/jackc/pgx/v5/stdlib":            true,
	"github.com/go-sql-driver/mysql":            true,
	"github.com/nogap-go/nogap/internal/fakedb": true,
}

func driverPackage(db *sql.DB) string {
	t := reflect.TypeOf(db.Driver())
	if t == nil {
		return ""
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}
