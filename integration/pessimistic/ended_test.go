//go:build unix

package pessimistic_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// TestCallbackEndsTheTransaction: a callback that sends COMMIT or ROLLBACK itself, or a statement that commits, gives its
// lock away, and what it wrote is neither all there nor all gone. No such call succeeds, or says that nothing was written.
func TestCallbackEndsTheTransaction(t *testing.T) {
	const ddl = "CREATE TABLE other (id int)"
	failed := errors.New("failed")
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		commits := target.Dialect == nogap.MariaDB || target.Dialect == nogap.MySQL // DDL does
		for _, statement := range []string{"COMMIT", "ROLLBACK", ddl} {
			for _, end := range []error{nil, failed} {
				name := statement + " and success"
				if end != nil {
					name = statement + " and an error"
				}
				t.Run(name, func(t *testing.T) {
					db := target.Open(t)
					createItems(t, db, 1)
					err := pessimistic.WithRowLock(t.Context(), db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
						require.NoError(t, take(1)(ctx, tx, it))
						_, err := tx.ExecContext(ctx, statement)
						require.NoError(t, err)
						return end
					})
					if statement == ddl && !commits {
						require.Equal(t, end, err)
						return
					}
					require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
					require.ErrorContains(t, err, "the callback ended the transaction itself")
					if end != nil {
						require.ErrorIs(t, err, end)
					}
					require.NoError(t, pessimistic.WithRowLock(t.Context(), db, item(1), take(1)), "the connection is clean")
				})
			}
		}
	})
}

// TestCallbackCallsRollback: a callback that calls tx.Rollback before it returns its error has written nothing.
func TestCallbackCallsRollback(t *testing.T) {
	failed := errors.New("failed")
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		err := pessimistic.WithRowLock(t.Context(), db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
			require.NoError(t, take(1)(ctx, tx, it))
			require.NoError(t, tx.Rollback())
			return failed
		})
		require.Equal(t, failed, err)
		require.Equal(t, 100, stockOf(t, db, 1))
	})
}

// TestServerRollsBack: a server that has rolled back by itself was not ended by the callback.
func TestServerRollsBack(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		err := pessimistic.WithRowLock(t.Context(), db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
			require.NoError(t, take(1)(ctx, tx, it))
			_, err := tx.ExecContext(ctx, "INSERT OR ROLLBACK INTO items VALUES (1, 0, '')")
			require.Error(t, err)
			return err
		})
		require.Error(t, err)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 100, stockOf(t, db, 1))
	})
}
