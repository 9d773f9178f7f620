//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// The statements that GORM prepares are kept by a goroutine that never ends.
func TestMain(m *testing.M) {
	servers.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

const add = "UPDATE items SET stock = stock + 1 WHERE id = 1"

// world is a database with one item, whose stock counts how often add was applied.
type world struct {
	matrix.Target
	dsn    string
	direct *sql.DB // not through any proxy
}

func newWorld(t *testing.T, target matrix.Target) *world {
	t.Helper()
	dsn := target.DSN(t)
	w := &world{target, dsn, target.Connect(t, dsn)}
	w.create(t)
	return w
}

func (w *world) create(t *testing.T) {
	t.Helper()
	w.exec(t, "CREATE TABLE items (id INT PRIMARY KEY, stock INT NOT NULL)")
	w.exec(t, "INSERT INTO items VALUES (1, 0), (2, 0)")
}

func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	_, err := w.direct.ExecContext(t.Context(), query, args...)
	require.NoError(t, err, query)
}

func (w *world) applied(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, w.direct.QueryRowContext(t.Context(), "SELECT stock FROM items WHERE id = 1").Scan(&n))
	return n
}

// requireHonest checks that err tells what came of one call that adds.
func (w *world) requireHonest(t *testing.T, err error) {
	t.Helper()
	n := w.applied(t)
	switch {
	case err == nil:
		require.Equal(t, 1, n)
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		require.LessOrEqual(t, n, 1)
	default:
		require.Zero(t, n, "%v", err)
	}
}

// requireClean checks that all connections are back in the pool, and that each is in order.
func requireClean(t *testing.T, db *sql.DB) {
	t.Helper()
	require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var held []*sql.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range max(1, db.Stats().Idle) {
		c, err := db.Conn(ctx)
		require.NoError(t, err)
		held = append(held, c)
		tx, err := c.BeginTx(ctx, nil)
		require.NoError(t, err)
		var one int
		require.NoError(t, tx.QueryRowContext(ctx, "SELECT 1").Scan(&one))
		require.NoError(t, tx.Rollback())
	}
}

// autocommit is autocommit for a database whose dialect is known.
func (w *world) autocommit(ctx context.Context, db *sql.DB, run func(*txn.Conn) error) error {
	source, err := dialect.NewSource(db, w.Dialect)
	if err != nil {
		return err
	}
	return autocommit(ctx, db, func(c *txn.Conn) error {
		c.Reaches(source)
		return run(c)
	})
}

// An adder adds in one of the ways that txn has.
type adder struct {
	name string
	text string // of the statement whose answer decides
	run  func(ctx context.Context, w *world, db *sql.DB) error
}

func autocommit(ctx context.Context, db *sql.DB, run func(*txn.Conn) error) error {
	c, err := txn.Acquire(ctx, db)
	if err != nil {
		return err
	}
	defer c.Close()
	return run(c)
}

var execAdder = adder{"exec", "UPDATE items", func(ctx context.Context, w *world, db *sql.DB) error {
	return w.autocommit(ctx, db, func(c *txn.Conn) error {
		_, err := c.Exec(ctx, add)
		return err
	})
}}

// The driver of MySQL prepares a statement that has arguments, so the server answers twice.
var preparedAdder = adder{"exec with an argument", "UPDATE items", func(ctx context.Context, w *world, db *sql.DB) error {
	query := "UPDATE items SET stock = stock + 1 WHERE id = ?"
	if w.Dialect == nogap.Postgres {
		query = "UPDATE items SET stock = stock + 1 WHERE id = $1"
	}
	return w.autocommit(ctx, db, func(c *txn.Conn) error {
		_, err := c.Exec(ctx, query, 1)
		return err
	})
}}

var returningAdder = adder{"returning", "UPDATE items", func(ctx context.Context, w *world, db *sql.DB) error {
	return w.autocommit(ctx, db, func(c *txn.Conn) error {
		var stock int
		return c.QueryRow(ctx, add+" RETURNING stock", nil, &stock)
	})
}}

var commitAdder = adder{"commit", "COMMIT", func(ctx context.Context, _ *world, db *sql.DB) error {
	return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, add)
		return err
	})
}}

func adders(target matrix.Target) []adder {
	all := []adder{execAdder, preparedAdder, commitAdder}
	if target.Dialect == nogap.Postgres || target.Dialect == nogap.SQLite {
		all = append(all, returningAdder)
	}
	return all
}
