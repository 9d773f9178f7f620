//go:build unix

// Package together_test has what must hold where two packages of nogap, or a package and SQL of one's own, write one
// table.
package together_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/optimistic"
)

func TestMain(m *testing.M) { servers.Main(m) }

// Item is what the editor reads and writes.
type Item struct {
	ID      string `db:"id"`
	Name    string `db:"name"`
	Stock   int64  `db:"stock"`
	Status  string `db:"status"`
	Version int64  `db:"version"`
}

// items makes the table items with 100 pens and 100 cups.
func items(tb testing.TB, target matrix.Target) *sql.DB {
	tb.Helper()
	db := target.Open(tb)
	createItems(tb, db)
	fill(tb, db)
	return db
}

// createItems makes the table items, which is empty.
func createItems(tb testing.TB, db *sql.DB) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, name VARCHAR(40), stock BIGINT, status VARCHAR(40), version BIGINT)")
}

func fill(tb testing.TB, db *sql.DB) {
	tb.Helper()
	exec(tb, db, "DELETE FROM items")
	exec(tb, db, "INSERT INTO items VALUES ('pen', 'pen', 100, 'new', 7), ('cup', 'cup', 100, 'new', 7)")
}

func exec(tb testing.TB, db *sql.DB, query string) {
	tb.Helper()
	_, err := db.ExecContext(context.Background(), query)
	require.NoError(tb, err, query)
}

// row returns the pen's stock and version.
func row(tb testing.TB, db *sql.DB) (stock, version int64) {
	tb.Helper()
	err := db.QueryRowContext(context.Background(), "SELECT stock, version FROM items WHERE id = 'pen'").Scan(&stock, &version)
	require.NoError(tb, err)
	return stock, version
}

func editor(tb testing.TB, db *sql.DB, opts ...optimistic.Option) *optimistic.Table[Item] {
	tb.Helper()
	table, err := optimistic.NewTable[Item](db, "items", opts...)
	require.NoError(tb, err)
	return table
}

func counter(tb testing.TB, db *sql.DB, opts ...atomic.Option) *atomic.Counter[int64] {
	tb.Helper()
	stock, err := atomic.NewCounter[int64](db, "items", "stock", opts...)
	require.NoError(tb, err)
	return stock
}

func state(tb testing.TB, db *sql.DB, opts ...atomic.Option) *atomic.State[string] {
	tb.Helper()
	status, err := atomic.NewState[string](db, "items", "status", opts...)
	require.NoError(tb, err)
	return status
}
