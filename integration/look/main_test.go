//go:build unix

// Package look_test tests the first look at a bound table: what would break a promise is an error that names it, and what
// does not goes on working.
package look_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/optimistic"
)

func TestMain(m *testing.M) { servers.Main(m) }

func exec(t *testing.T, db *sql.DB, queries ...string) {
	t.Helper()
	for _, query := range queries {
		_, err := db.Exec(query)
		require.NoError(t, err, query)
	}
}

// item is a row of the tables and views of these tests.
type item struct {
	ID      int64  `db:"id"`
	Stock   int64  `db:"stock"`
	Status  string `db:"status"`
	Version int64  `db:"version"`
}

// columns are those of item.
const columns = "(id BIGINT NOT NULL PRIMARY KEY, stock BIGINT NOT NULL DEFAULT 0, status VARCHAR(20) NOT NULL DEFAULT '', version BIGINT NOT NULL DEFAULT 0)"

// rows are what the tables begin with: each operation has a row of its own.
const rows = "(1, 10, 'new', 0), (2, 10, 'new', 0), (3, 10, 'new', 0), (4, 10, 'new', 0), (5, 10, 'new', 0), (6, 10, 'new', 0)"

// operation writes a row of a table or a view, as one of the packages does.
type operation struct {
	name string
	row  int
	want [3]any // stock, status and version of the row afterwards; nil if it is gone
	run  func(ctx context.Context, db *sql.DB, table string, d nogap.Dialect) error
}

var operations = []operation{
	{"Decrement", 1, [3]any{int64(9), "new", int64(0)}, func(ctx context.Context, db *sql.DB, table string, _ nogap.Dialect) error {
		stock, err := atomic.NewCounter[int64](db, table, "stock")
		if err == nil {
			_, err = stock.Decrement(ctx, 1, 1)
		}
		return err
	}},
	{"Transition", 2, [3]any{int64(10), "paid", int64(0)}, func(ctx context.Context, db *sql.DB, table string, _ nogap.Dialect) error {
		status, err := atomic.NewState[string](db, table, "status")
		if err == nil {
			err = status.Transition(ctx, "new", "paid", 2)
		}
		return err
	}},
	{"CompareAndSet", 3, [3]any{int64(7), "new", int64(0)}, func(ctx context.Context, db *sql.DB, table string, d nogap.Dialect) error {
		stock, err := atomic.NewCounter[int64](db, table, "stock", atomic.WithDialect(d)) // which does not spare the look
		if err == nil {
			err = stock.CompareAndSet(ctx, 10, 7, 3)
		}
		return err
	}},
	{"Modify", 4, [3]any{int64(9), "new", int64(1)}, func(ctx context.Context, db *sql.DB, table string, _ nogap.Dialect) error {
		items, err := optimistic.NewTable[item](db, table)
		if err == nil {
			_, err = items.Modify(ctx, func(it *item) error { it.Stock--; return nil }, 4)
		}
		return err
	}},
	{"Update", 5, [3]any{int64(9), "new", int64(1)}, func(ctx context.Context, db *sql.DB, table string, _ nogap.Dialect) error {
		items, err := optimistic.NewTable[item](db, table)
		if err == nil {
			err = items.Update(ctx, &item{ID: 5, Stock: 9, Status: "new"})
		}
		return err
	}},
	{"Delete", 6, [3]any{}, func(ctx context.Context, db *sql.DB, table string, _ nogap.Dialect) error {
		items, err := optimistic.NewTable[item](db, table)
		if err == nil {
			err = items.Delete(ctx, &item{ID: 6})
		}
		return err
	}},
	{"Add", 7, [3]any{int64(0), "", int64(0)}, func(ctx context.Context, db *sql.DB, table string, _ nogap.Dialect) error {
		ids, err := atomic.NewSet(db, table, []string{"id"})
		if err == nil {
			_, err = ids.Add(ctx, 7)
		}
		return err
	}},
}

// each runs every operation on a relation over a pool of its own, since a Counter and a Table of one pool would be refused,
// and shows what the row in the table held before and afterwards.
func each(
	t *testing.T, target matrix.Target, dsn, relation string, show func(o operation, err error, before, after [3]any),
) {
	t.Helper()
	admin := target.Connect(t, dsn)
	for _, o := range operations {
		db := target.Connect(t, dsn)
		before := held(t, admin, "items", o.row)
		err := o.run(t.Context(), db, relation, target.Dialect)
		show(o, err, before, held(t, admin, "items", o.row))
	}
}

// refuses requires that every operation is an error that has the text, and writes nothing.
func refuses(t *testing.T, target matrix.Target, dsn, relation, text string) {
	t.Helper()
	each(t, target, dsn, relation, func(o operation, err error, before, after [3]any) {
		require.ErrorContains(t, err, text, "%s of %s", o.name, relation)
		require.Equal(t, before, after, "%s of %s", o.name, relation)
	})
}

// held returns what a row of a table holds: stock, status and version; nil if there is none.
func held(t *testing.T, db *sql.DB, table string, id int) (row [3]any) {
	t.Helper()
	var it item
	err := db.QueryRow(fmt.Sprintf("SELECT stock, status, version FROM %s WHERE id = %d", table, id)).Scan(&it.Stock, &it.Status, &it.Version)
	if err == sql.ErrNoRows {
		return row
	}
	require.NoError(t, err)
	return [3]any{it.Stock, it.Status, it.Version}
}
