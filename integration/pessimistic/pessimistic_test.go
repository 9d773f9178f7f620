//go:build unix

// Package pessimistic_test is the conformance suite of package pessimistic: what it promises, on every database and
// driver of the matrix.
package pessimistic_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/pessimistic"
)

// GORM never ends the goroutine of its prepared statements.
func TestMain(m *testing.M) {
	servers.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

// Item has fields for two of the columns of the table items.
type Item struct {
	ID    int64 `db:"id"`
	Stock int64 `db:"stock"`
}

// item names a row of the table items.
func item(id int) pessimistic.Row { return pessimistic.Row{Table: "items", Key: id} }

// createItems makes the table items, in which the rows 1 to n have 100 in stock each.
func createItems(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	exec(t, db, "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL, note varchar(20))")
	for id := 1; id <= n; id++ {
		exec(t, db, fmt.Sprintf("INSERT INTO items VALUES (%d, 100, 'unread')", id))
	}
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	_, err := db.Exec(query)
	require.NoError(t, err)
}

func stockOf(t *testing.T, db *sql.DB, id int) (stock int) {
	t.Helper()
	require.NoError(t, db.QueryRow(fmt.Sprintf("SELECT stock FROM items WHERE id = %d", id)).Scan(&stock))
	return stock
}

// take is a callback that reads, decides and writes: the lock is what makes it right.
func take(n int64) func(context.Context, *sqlx.Tx, *Item) error {
	return func(ctx context.Context, tx *sqlx.Tx, item *Item) error {
		item.Stock -= n
		_, err := tx.NamedExecContext(ctx, "UPDATE items SET stock = :stock WHERE id = :id", item)
		return err
	}
}

// holdRow locks row 1 of items from another pool, as another process would, until the test calls release.
func holdRow(t *testing.T, target matrix.Target, dsn string) (release func()) {
	t.Helper()
	db := target.Connect(t, dsn)
	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("UPDATE items SET stock = stock - 1 WHERE id = 1")
	require.NoError(t, err)
	released := false
	release = func() {
		if !released {
			released = true
			require.NoError(t, tx.Rollback())
		}
	}
	t.Cleanup(release)
	return release
}

func isSQLite(target matrix.Target) bool { return target.Dialect == nogap.SQLite }
