//go:build unix

package txn_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// A read that is given up while it waits for a lock does not go on in the server, where it would keep a session.
func TestReadIsGivenUp(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		db := target.Connect(t, w.dsn)
		stock, err := atomic.NewCounter[int](db, "items", "stock")
		require.NoError(t, err)
		_, err = stock.Get(t.Context(), 1)
		require.NoError(t, err)
		tx, err := w.direct.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = tx.Exec("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
		require.NoError(t, err)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			given := make(chan error, 1)
			go func() {
				_, err := stock.Get(ctx, 1)
				given <- err
			}()
			// pgx asks the server once, which forgets that if it has not begun the statement yet.
			w.AwaitBlocked(t, w.direct)
			cancel()
			require.ErrorIs(t, <-given, context.Canceled)
			w.AwaitUnblocked(t, w.direct)
		}
	})
}
