//go:build unix

package pessimistic_test

import (
	"context"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// A context that ends while the call waits ends the call, and leaves neither a connection in use nor a lock.
func TestCancelledWhileWaiting(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		createItems(t, db, 1)
		require.NoError(t, pessimistic.WithRowLock(t.Context(), db, item(1), take(1)))
		db.SetMaxOpenConns(1)
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}

		taken, err := db.Conn(t.Context())
		require.NoError(t, err)
		err = pessimistic.WithRowLock(short(), db, item(1), notCalled(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, taken.Close())

		release := holdRow(t, target, dsn)
		err = pessimistic.WithRowLock(short(), db, item(1), notCalled(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		release()
		leak.Connections(t, db)

		require.NoError(t, pessimistic.WithRowLock(concurrent.Within(t, time.Minute), db, item(1), take(1)))
		require.Equal(t, 98, stockOf(t, db, 1))
	})
}

// An administrator ends the session, while it waits for the lock and in the callback.
func TestKilled(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, admin := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, admin, 1)
		db.SetMaxOpenConns(1)
		var id string
		require.NoError(t, db.QueryRow(connectionID(target)).Scan(&id))
		ctx := concurrent.Within(t, time.Minute)
		release := holdRow(t, target, dsn)
		failed := make(chan error, 1)
		go func() { failed <- pessimistic.WithRowLock(ctx, db, item(1), notCalled(t)) }()
		target.AwaitBlocked(t, admin)
		killID(t, target, admin, id)
		err := <-failed
		require.Error(t, err)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		release()

		calls := 0
		err = pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
			calls++
			kill(t, target, admin, tx)
			return take(1)(ctx, tx, it)
		})
		require.Error(t, err)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 1, calls)
		require.Equal(t, 100, stockOf(t, admin, 1))
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1)))
	})
}

// The connection is lost at COMMIT: nobody can know, and nothing is run again.
func TestLostCommit(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		direct := target.Connect(t, dsn)
		createItems(t, direct, 1)
		commit := faultproxy.Executes("COMMIT")
		faults := []struct {
			name  string
			arm   func(*faultproxy.Proxy) *faultproxy.Fault
			stays bool // until the context ends
			stock int
		}{
			{"request lost", func(p *faultproxy.Proxy) *faultproxy.Fault { return p.LoseRequest(commit) }, false, 100},
			{"reply lost", func(p *faultproxy.Proxy) *faultproxy.Fault { return p.LoseReply(commit) }, false, 99},
			{"no reply", func(p *faultproxy.Proxy) *faultproxy.Fault { return p.HoldReply(commit) }, true, 99},
		}
		for _, tt := range faults {
			t.Run(tt.name, func(t *testing.T) {
				exec(t, direct, "UPDATE items SET stock = 100")
				proxy, through := target.Proxy(t, dsn)
				db := target.Connect(t, through)
				require.NoError(t, pessimistic.WithRowLock(t.Context(), db, item(1), take(0)))
				ctx, cancel := context.WithCancel(concurrent.Within(t, time.Minute))
				defer cancel()

				struck := tt.arm(proxy)
				if tt.stays {
					go func() { <-struck.Done(); cancel() }()
				}
				calls := 0
				err := pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
					calls++
					return take(1)(ctx, tx, it)
				})
				require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
				if tt.stays {
					require.ErrorIs(t, err, context.Canceled)
				}
				struck.Await(t)
				proxy.Pass()
				require.Equal(t, 1, calls)
				require.Equal(t, tt.stock, stockOf(t, direct, 1))
				leak.Connections(t, db)
				require.NoError(t, pessimistic.WithRowLock(concurrent.Within(t, time.Minute), db, item(1), take(1)))
			})
		}
	})
}
