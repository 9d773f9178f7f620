//go:build unix

package look_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

var errDeclined = errors.New("declined")

// with adds a setting to a DSN.
func with(dsn, setting string) string {
	return dsn + map[bool]string{true: "&", false: "?"}[strings.Contains(dsn, "?")] + setting
}

// What a session does not commit by itself would not be kept, and what it does after a COMMIT may not be either.
func TestSessionThatDoesNotCommit(t *testing.T) {
	for _, setting := range []string{"autocommit=0", "completion_type=1", "completion_type=2"} {
		t.Run(setting, func(t *testing.T) {
			matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
				name, _, _ := strings.Cut(setting, "=")
				plain := fresh(t, target)
				dsn := with(plain, setting+"&innodb_lock_wait_timeout=1")
				refuses(t, target, dsn, "items", "the session has "+name)
				before := held(t, target.Connect(t, plain), "items", 1)
				write := func(tx *sqlx.Tx) error {
					_, err := tx.Exec("UPDATE items SET stock = stock - 1 WHERE id = 1")
					return err
				}
				for call, lock := range locking {
					if call != "LockRow" { // whose transaction is the caller's
						require.ErrorContains(t, lock(t.Context(), target.Connect(t, dsn), "items", write), "the session has "+name, call)
					}
				}
				err := pessimistic.WithNamedLock(t.Context(), target.Connect(t, dsn), "name", func(_ context.Context, tx *sqlx.Tx) error {
					return write(tx)
				})
				require.ErrorContains(t, err, "the session has "+name)
				for _, opts := range [][]transaction.Option{nil, {transaction.Serializable()}, {transaction.WithDialect(target.Dialect)}} {
					err = transaction.Run(t.Context(), target.Connect(t, dsn), func(_ context.Context, tx *sqlx.Tx) error {
						return write(tx)
					}, opts...)
					require.ErrorContains(t, err, "transaction: the session has "+name)
				}
				require.Equal(t, before, held(t, target.Connect(t, plain), "items", 1))
			})
		})
	}
}

// On a connection that COMMIT leaves in a new transaction, a statement is not kept.
func TestSessionThatChains(t *testing.T) {
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		plain := fresh(t, target)
		db := target.Connect(t, with(plain, "completion_type=1"))
		db.SetMaxOpenConns(1)
		locked := locking["WithRowLock"](t.Context(), db, "items", func(*sqlx.Tx) error { return nil })
		stock, err := atomic.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		_, err = stock.Decrement(t.Context(), 1, 1)
		t.Logf("%v, %v: %v", locked, err, held(t, target.Connect(t, plain), "items", 1))
		require.ErrorContains(t, locked, "completion_type=CHAIN")
		require.ErrorContains(t, err, "completion_type=CHAIN")
	})
}

// In a transaction of the caller's it is the caller who commits. What the table is, is known then, and the session is
// still looked at by the first call on the pool.
func TestSessionInATransaction(t *testing.T) {
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		plain := fresh(t, target)
		db := target.Connect(t, with(plain, "autocommit=0"))
		stock, err := atomic.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		for range 2 {
			tx, err := db.Begin()
			require.NoError(t, err)
			_, err = stock.WithTx(tx).Decrement(t.Context(), 1, 1)
			require.NoError(t, err)
			_, err = pessimistic.LockRow[item](t.Context(), tx, pessimistic.Row{Table: "items", Key: 2})
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			_, err = stock.Decrement(t.Context(), 1, 1)
			require.ErrorContains(t, err, "autocommit=0")
		}
		require.Equal(t, [3]any{int64(8), "new", int64(0)}, held(t, target.Connect(t, plain), "items", 1))
	})
}

// A PostgreSQL that lets the session write nothing says so itself.
func TestReadOnlySession(t *testing.T) {
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		plain := fresh(t, target)
		refuses(t, target, with(plain, "default_transaction_read_only=on"), "items", "read-only transaction")
	})
}
