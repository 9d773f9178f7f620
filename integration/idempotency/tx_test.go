//go:build unix

package idempotency_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/transaction"
)

// In the caller's transaction the key, the writes and the result stand or fall with it; an error of fn undoes fn alone.
func TestWithTx(t *testing.T) {
	errRefused := errors.New("refused")
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		s := newStore(t, target, db)
		exec(t, db, "CREATE TABLE items (id INT PRIMARY KEY, stock BIGINT NOT NULL)")
		exec(t, db, "INSERT INTO items VALUES (1, 10), (2, 10)")
		stock, err := atomic.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		ctx := within(t, time.Minute)
		in := func(tx *sqlx.Tx, key string, fail error) (receipt, bool, error) {
			return s.WithTx(tx).Do(ctx, key, func(ctx context.Context) (receipt, error) {
				got, err := pay(key, 1)(ctx, tx)
				// Transfer sets a savepoint inside that of Do.
				return got, errors.Join(err, stock.WithTx(tx).Transfer(ctx, 1, atomic.Key{1}, atomic.Key{2}), fail)
			})
		}
		require.NoError(t, transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, _, err := in(tx, "refused", errRefused)
			require.ErrorIs(t, err, errRefused)
			require.PanicsWithValue(t, "boom", func() {
				_, _, _ = s.WithTx(tx).Do(ctx, "panics", func(ctx context.Context) (receipt, error) {
					_, err := pay("panics", 1)(ctx, tx)
					require.NoError(t, err)
					panic("boom")
				})
			})
			got, replayed, err := in(tx, "k", nil)
			require.NoError(t, err)
			require.False(t, replayed)
			require.Equal(t, receipt{"k", 1}, got)
			got, replayed, err = in(tx, "k", nil)
			require.NoError(t, err)
			require.True(t, replayed)
			require.Equal(t, receipt{"k", 1}, got)
			return nil
		}))
		require.Equal(t, 1, payments(t, db))
		require.Equal(t, 1, keys(t, db))
		require.Equal(t, 9, number(t, db, "SELECT stock FROM items WHERE id = 1"))

		require.ErrorIs(t, transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, _, err := in(tx, "undone", nil)
			return errors.Join(err, errRefused)
		}), errRefused)
		require.Equal(t, 1, keys(t, db))

		_, _, err = s.WithTx(nil).Do(ctx, "k", func(context.Context) (receipt, error) { return receipt{}, nil })
		require.Error(t, err)
		_, _, err = s.WithTx(db).Do(ctx, "k", func(context.Context) (receipt, error) { return receipt{}, nil })
		require.ErrorContains(t, err, "no transaction")
	})
}

// A REPEATABLE READ snapshot does not show a result that was committed after it: the locking read does, or PostgreSQL has the
// caller run again.
func TestWithTxSeesTheNewest(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, elsewhere := target.Connect(t, dsn), target.Connect(t, dsn)
		s, far := newStore(t, target, db), storeOf(t, elsewhere)
		ctx := within(t, time.Minute)
		_, _, err := s.Do(ctx, "before", pay("before", 0))
		require.NoError(t, err)
		runs := 0
		var got receipt
		var replayed bool
		require.NoError(t, transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) (err error) {
			require.Equal(t, 1+min(runs, 1), func() (n int) {
				require.NoError(t, tx.QueryRowContext(ctx, "SELECT count(*) FROM idempotency_keys").Scan(&n))
				return n
			}())
			if runs++; runs == 1 {
				_, _, err := far.Do(context.WithoutCancel(t.Context()), "k", pay("far", 1))
				require.NoError(t, err)
			}
			got, replayed, err = s.WithTx(tx).Do(ctx, "k", func(ctx context.Context) (receipt, error) { return pay("near", 1)(ctx, tx) })
			return err
		}, transaction.Isolation(sql.LevelRepeatableRead)))
		require.True(t, replayed)
		require.Equal(t, receipt{"far", 1}, got)
		require.Equal(t, 2, payments(t, db))
		// The server refuses what the snapshot does not show.
		again := target.Dialect == nogap.Postgres ||
			target.Dialect == nogap.MariaDB && number(t, db, "SELECT @@innodb_snapshot_isolation") == 1
		require.Equal(t, again, runs == 2)

		err = transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, _, err := s.WithTx(tx).Do(ctx, "k", func(context.Context) (receipt, error) { return receipt{}, nil }, idempotency.NoWait())
			return err
		})
		require.ErrorContains(t, err, "NoWait is not an option")
	})
}
