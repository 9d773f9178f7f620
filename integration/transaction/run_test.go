//go:build unix

package transaction_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

var errBoom = errors.New("boom")

func decrement(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = 0")
	return err
}

func TestCommitsAndRollsBack(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		s := newShop(t, target.Open(t))
		ctx := concurrent.Within(t, time.Minute)
		stock := func() int { return number(t, s.db, "SELECT stock FROM items WHERE id = 0") }
		require.NoError(t, transaction.Run(ctx, s.db, decrement))
		require.Equal(t, 999, stock())
		require.ErrorIs(t, transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
			require.NoError(t, decrement(ctx, tx))
			return errBoom
		}), errBoom)
		require.Equal(t, 999, stock())
		require.PanicsWithValue(t, "boom", func() {
			transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
				require.NoError(t, decrement(ctx, tx))
				panic("boom")
			})
		})
		require.Equal(t, 999, stock())
		ended, cancel := context.WithCancel(ctx)
		err := transaction.Run(ended, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
			require.NoError(t, decrement(ctx, tx))
			cancel()
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 999, stock())
	})
}

func TestReadOnly(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		s := newShop(t, target.Open(t))
		ctx := concurrent.Within(t, time.Minute)
		var stock int
		require.NoError(t, transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
			return tx.GetContext(ctx, &stock, "SELECT stock FROM items WHERE id = 0")
		}, transaction.ReadOnly()))
		require.Equal(t, 1000, stock)
		if !isSQLite(target) { // there it is the driver that decides
			require.Error(t, transaction.Run(ctx, s.db, decrement, transaction.ReadOnly()))
			require.Equal(t, 1000, number(t, s.db, "SELECT stock FROM items WHERE id = 0"))
		}
		require.NoError(t, transaction.Run(ctx, s.db, decrement), "the next transaction of the session may write")
	})
}

// A second transaction on the same database, and a call that would wait for this one, are refused; LockRow is part of it.
func TestInsideTheCallback(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		s := newShop(t, target.Open(t))
		ctx := concurrent.Within(t, time.Minute)
		row := pessimistic.Row{Table: "items", Key: 0}
		nothing := func(context.Context, *sqlx.Tx, *struct {
			ID    int `db:"id"`
			Stock int `db:"stock"`
		}) error {
			return nil
		}
		require.NoError(t, transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
			require.ErrorContains(t, transaction.Run(ctx, s.db, decrement), "use the callback's tx")
			item, err := pessimistic.LockRow[struct {
				ID    int `db:"id"`
				Stock int `db:"stock"`
			}](ctx, tx, row)
			require.NoError(t, err)
			require.Equal(t, 1000, item.Stock)
			require.ErrorContains(t, pessimistic.WithRowLock(ctx, s.db, row, nothing), "wait for itself")
			_, err = s.stock.Decrement(ctx, 1, 0)
			require.ErrorContains(t, err, "wait for itself")
			_, err = s.stock.WithTx(tx).Decrement(ctx, 1, 0)
			return err
		}))
		require.NoError(t, pessimistic.WithRowLock(ctx, s.db, row, func(ctx context.Context, _ *sqlx.Tx, _ *struct {
			ID    int `db:"id"`
			Stock int `db:"stock"`
		}) error {
			require.ErrorContains(t, transaction.Run(ctx, s.db, decrement), "use the callback's tx")
			return nil
		}))
		require.Equal(t, 999, number(t, s.db, "SELECT stock FROM items WHERE id = 0"))
	})
}

// Row level security by SET LOCAL: Before tells every transaction whose rows it may see.
func TestBefore(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE notes (id INT PRIMARY KEY, tenant TEXT NOT NULL)")
		exec(t, db, "INSERT INTO notes VALUES (1, 'a'), (2, 'b')")
		ctx := concurrent.Within(t, time.Minute)
		as := func(tenant string) transaction.Option {
			return transaction.Before(func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := tx.ExecContext(ctx, "SELECT set_config('app.tenant', $1, true)", tenant)
				return err
			})
		}
		for tenant, id := range map[string]int{"a": 1, "b": 2} {
			var got int
			require.NoError(t, transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
				return tx.GetContext(ctx, &got, "SELECT id FROM notes WHERE tenant = current_setting('app.tenant')")
			}, as(tenant)))
			require.Equal(t, id, got)
		}
		require.ErrorIs(t, transaction.Run(ctx, db, decrement, transaction.Before(func(context.Context, *sqlx.Tx) error {
			return sql.ErrNoRows
		})), sql.ErrNoRows)
	})
}

// The level is the one that was asked for, and ends with the transaction. What it does, on every server, is tested with
// Serializable.
func TestIsolation(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		db.SetMaxOpenConns(1)
		level := func(opts ...transaction.Option) (level string) {
			require.NoError(t, transaction.Run(concurrent.Within(t, time.Minute), db, func(ctx context.Context, tx *sqlx.Tx) error {
				return tx.GetContext(ctx, &level, "SELECT current_setting('transaction_isolation')")
			}, opts...))
			return level
		}
		for _, l := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			require.Equal(t, strings.ToLower(l.String()), level(transaction.Isolation(l)))
			require.Equal(t, "read committed", level())
		}
	})
}
