package txn

import (
	"reflect"
	"sync"
)

// driverStatus is where a driver keeps what the server has said last about its transaction, with every reply. No driver
// hands that out through database/sql, and to ask the server would cost a round trip.
type driverStatus struct {
	path []string // the names of fields, from the driver's connection on
	in   func(status uint64) bool
	// steps are the numbers of these fields.
	steps []int
}

// driverStatuses are by the types of the drivers' connections.
var driverStatuses = map[string]driverStatus{
	"github.com/jackc/pgx/v5/stdlib.Conn":      {path: []string{"conn", "pgConn", "txStatus"}, in: notIdle},
	"github.com/lib/pq.conn":                   {path: []string{"txnStatus"}, in: notIdle},
	"github.com/go-sql-driver/mysql.mysqlConn": {path: []string{"status"}, in: flagged},
}

// notIdle knows PostgreSQL's ReadyForQuery: I, T or, for a transaction that has failed, E.
func notIdle(status uint64) bool { return status != 'I' }

// flagged knows MySQL's SERVER_STATUS_IN_TRANS.
func flagged(status uint64) bool { return status&1 != 0 }

var foundStatuses sync.Map // of *driverStatus, by reflect.Type; nil where there is none

// inTransaction reports whether a driver's connection is known to be in a transaction, or known not to be. Of most
// drivers neither is known: then both are false.
func inTransaction(driverConn any) (in, out bool) {
	v := reflect.ValueOf(driverConn)
	if v.Kind() != reflect.Pointer {
		return false, false
	}
	found, ok := foundStatuses.Load(v.Type())
	if !ok {
		found, _ = foundStatuses.LoadOrStore(v.Type(), findStatus(v.Type()))
	}
	s := found.(*driverStatus)
	if s == nil {
		return false, false
	}
	for _, step := range s.steps {
		if v = reflect.Indirect(v); !v.IsValid() {
			return false, false
		}
		v = v.Field(step)
	}
	in = s.in(v.Uint())
	return in, !in
}

// findStatus returns the status of a driver's connections, or nil if it is not where it is expected.
func findStatus(t reflect.Type) *driverStatus {
	s, ok := driverStatuses[t.Elem().PkgPath()+"."+t.Elem().Name()]
	if !ok {
		return nil
	}
	for _, name := range s.path {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return nil
		}
		field, ok := t.FieldByName(name)
		if !ok || len(field.Index) != 1 {
			return nil
		}
		s.steps, t = append(s.steps, field.Index[0]), field.Type
	}
	switch t.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &s
	}
	return nil
}

// inTransaction asks the driver; see there.
func (c *Conn) inTransaction() (in, out bool) {
	c.conn.Raw(func(driverConn any) error {
		in, out = inTransaction(driverConn)
		return nil
	})
	return in, out
}
