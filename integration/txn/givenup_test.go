//go:build unix

package txn_test

import (
	"context"
	"testing"
	"time"

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
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := stock.Get(ctx, 1)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		const waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
		require.Eventually(t, func() bool { // outside of the transaction, which would always see what it has seen first
			var n int
			require.NoError(t, w.direct.QueryRow(waiting).Scan(&n))
			return n == 0
		}, time.Minute, 20*time.Millisecond)
	})
}
