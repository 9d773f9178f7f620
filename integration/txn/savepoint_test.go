//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/txn"
)

// What fails behind a savepoint is undone, and the transaction goes on.
func TestSavepoint(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		w := newWorld(t, target)
		require.NoError(t, txn.Do(ctx, w.direct, nil, func(tx *sql.Tx) error {
			r := txn.In(tx)
			addTo := func(r txn.Runner) error { _, err := r.Exec(ctx, add); return err }
			require.NoError(t, addTo(r))
			require.NoError(t, txn.Savepoint(ctx, r, addTo))
			err := txn.Savepoint(ctx, r, func(r txn.Runner) error {
				require.NoError(t, addTo(r))
				return errCallback
			})
			require.Equal(t, errCallback, err)
			err = txn.Savepoint(ctx, r, func(r txn.Runner) error {
				require.NoError(t, addTo(r))
				_, err := r.Exec(ctx, "INSERT INTO items VALUES (1, 0)") // after which PostgreSQL takes nothing but a rollback
				return err
			})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "could not be restored")
			cancelled, cancel := context.WithCancel(ctx)
			err = txn.Savepoint(cancelled, r, func(r txn.Runner) error {
				defer cancel()
				return addTo(r)
			})
			require.ErrorIs(t, err, context.Canceled)
			require.NotContains(t, err.Error(), "could not be restored")
			return nil
		}))
		require.Equal(t, 2, w.applied(t))
	})
}

// The loser of a deadlock on MySQL has lost its transaction, savepoint and all. The error says so, and that a second try
// may succeed.
func TestSavepointOfADeadlock(t *testing.T) {
	matrix.Run(t, matrix.MariaDB(), func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		w := newWorld(t, target)
		other, err := w.direct.Begin()
		require.NoError(t, err)
		defer other.Rollback()
		for range 20 { // of the two, the server ends the one that has written less
			_, err = other.Exec("UPDATE items SET stock = stock + 1 WHERE id = 2")
			require.NoError(t, err)
		}
		_, err = other.Exec("INSERT INTO items VALUES (3, 0), (4, 0), (5, 0)")
		require.NoError(t, err)
		waits := make(chan error, 1)
		err = txn.Do(ctx, w.direct, nil, func(tx *sql.Tx) error {
			return txn.Savepoint(ctx, txn.In(tx), func(r txn.Runner) error {
				if _, err := r.Exec(ctx, add); err != nil {
					return err
				}
				go func() { _, err := other.Exec(add); waits <- err }()
				w.AwaitBlocked(t, w.direct)
				_, err := r.Exec(ctx, "UPDATE items SET stock = stock + 1 WHERE id = 2")
				return err
			})
		})
		require.NoError(t, <-waits)
		require.True(t, nogap.Retryable(err), "%v", err)
		require.ErrorContains(t, err, "could not be restored")
		require.NoError(t, other.Rollback())
		require.Zero(t, w.applied(t))
		requireClean(t, w.direct)
	})
}
