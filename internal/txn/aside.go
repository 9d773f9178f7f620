package txn

import (
	"database/sql"
	"database/sql/driver"
	"reflect"
	"sync"
)

// aside is a pool of one connection beside a *sql.DB, for what the server is to be told while all connections of the *sql.DB
// may be waiting. It is there only while somebody uses it.
type aside struct {
	mu    sync.Mutex
	users int
	db    *sql.DB
}

// use calls f with the pool, unless it can't be had.
func (a *aside) use(beside *sql.DB, f func(*sql.DB)) {
	if db := a.open(beside); db != nil {
		defer a.close()
		f(db)
	}
}

func (a *aside) open(beside *sql.DB) *sql.DB {
	connector := connectorOf(beside)
	if connector == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users == 0 {
		a.db = sql.OpenDB(unclosed{connector})
		a.db.SetMaxOpenConns(1)
	}
	a.users++
	return a.db
}

func (a *aside) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users--
	if a.users == 0 {
		a.db.Close()
		a.db = nil
	}
}

// unclosed hides the Close that a connector may have, which (*sql.DB).Close calls: the connector is that of the *sql.DB beside.
type unclosed struct{ driver.Connector }

// connectorOf returns what db opens its connections with, or nil. database/sql keeps it, and has no method for it.
func connectorOf(db *sql.DB) driver.Connector {
	field := reflect.ValueOf(db).Elem().FieldByName("connector")
	if !field.IsValid() || field.Type() != reflect.TypeFor[driver.Connector]() {
		return nil
	}
	connector, _ := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Interface().(driver.Connector)
	return connector
}
