// Package fakeitems is a database in memory with one table, items, of one row with a stock. It is for unit tests and runnable examples of
// racetest: it passes for PostgreSQL, knows no transactions, and nobody waits in it.
package fakeitems

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"

	"github.com/nogap-go/nogap/internal/fakedb"
)

// The statements that it knows. Set takes the new stock as its parameter.
const (
	Read   = "SELECT stock FROM items WHERE id = 1"
	Set    = "UPDATE items SET stock = $1 WHERE id = 1"
	Take   = "UPDATE items SET stock = stock - 1 WHERE id = 1 AND stock > 0"
	Refill = "UPDATE items SET stock = 10 WHERE id = 1"
)

// New returns the database.
func New() driver.Connector {
	var mu sync.Mutex
	stock := int64(10)
	return fakedb.New(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case c.Kind != fakedb.Exec && c.Kind != fakedb.Query:
			return fakedb.Reply{}, nil
		case c.Query == Read:
			return fakedb.Reply{Columns: []string{"stock"}, Rows: [][]driver.Value{{stock}}}, nil
		case c.Query == Set:
			stock = c.Arg(0).(int64)
		case c.Query == Refill:
			stock = 10
		case c.Query == Take:
			if stock == 0 {
				return fakedb.Reply{}, nil
			}
			stock--
		default:
			return catalog(c, stock)
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

// catalog answers what racetest asks by itself.
func catalog(c fakedb.Call, stock int64) (fakedb.Reply, error) {
	has := func(part string) bool { return strings.Contains(c.Query, part) }
	switch {
	case has("version()"):
		return fakedb.Row("PostgreSQL 15.0"), nil
	case has("pg_backend_pid()"):
		return fakedb.Row(int64(c.Conn)), nil
	case has("default_transaction_isolation"):
		return fakedb.Row("read committed"), nil
	case has("pg_table_is_visible"):
		return fakedb.Row("public", "items", true), nil
	case has("format_type"):
		r := fakedb.Row("id", "integer", int64(1), false, false)
		r.Rows = append(r.Rows, []driver.Value{"stock", "integer", int64(0), false, false})
		return r, nil
	case has(`FROM "public"."items"`):
		return fakedb.Reply{Columns: []string{"id", "stock"}, Rows: [][]driver.Value{{int64(1), stock}}}, nil
	case has("deadlock_timeout"), has("setval"), has("pg_blocking_pids"), has("pg_constraint"), has("pg_inherits"), has("pg_trigger"):
		return fakedb.Reply{Columns: []string{"none"}}, nil
	}
	return fakedb.Reply{}, fmt.Errorf("fakeitems: what is %s?", c.Query)
}
