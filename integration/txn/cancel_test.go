//go:build unix

package txn_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	counters "github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/calm"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
)

// A call whose context ends while its write is under way, on a server that lives and where nobody is in its way, gets to know
// what came of it, and is told the truth.
func TestCancelledWrite(t *testing.T) {
	const callers, calls = 4, 60
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		for id := range callers {
			w.exec(t, fmt.Sprintf("INSERT INTO items VALUES (%d, 0)", 10+id))
		}
		stock, err := counters.NewCounter[int64](w.direct, "items", "stock")
		require.NoError(t, err)
		_, err = stock.Increment(t.Context(), 1, 1)
		require.NoError(t, err)

		clock := calm.Start(t, func(ctx context.Context) { _ = w.direct.PingContext(ctx) })
		var cancelled, unknown atomic.Int64
		var all sync.WaitGroup
		for id := range callers {
			all.Go(func() {
				applied, lost := int64(0), int64(0)
				random := rand.New(rand.NewPCG(1, uint64(id)))
				for range calls {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(3000))*time.Microsecond)
					begun := clock.Now()
					_, err := stock.Increment(ctx, 1, 10+id)
					cancel()
					switch {
					case err == nil:
						applied++
					case errors.Is(err, nogap.ErrOutcomeUnknown):
						lost++
						if clock.Now()-begun > 700*time.Millisecond { // else the machine stood still for the second of grace
							unknown.Add(1)
						}
					default:
						cancelled.Add(1)
						assertIs(t, err, context.DeadlineExceeded)
					}
				}
				got, err := stock.Get(t.Context(), 10+id)
				assertIs(t, err, nil)
				if got < applied || got > applied+lost {
					t.Errorf("%d calls say that they were applied, %d that nobody knows, and %d were", applied, lost, got)
				}
			})
		}
		all.Wait()
		require.Zero(t, unknown.Load(), "of %d calls, of which %d say that they were not applied", callers*calls, cancelled.Load())
		t.Logf("%d of %d calls say that they were not applied", cancelled.Load(), callers*calls)
	})
}

// Calls that wait for a row that somebody else has locked, over all connections that there are, get to know that they did nothing.
func TestCancelledInLockWait(t *testing.T) {
	const callers, rounds = 8, 2
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		db := target.Connect(t, w.dsn)
		db.SetMaxOpenConns(callers)
		stock, err := counters.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		_, err = stock.Increment(t.Context(), 1, 2)
		require.NoError(t, err)
		release := w.lock(t)
		for range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					_, err := stock.Increment(ctx, 1, 1)
					assertIs(t, err, context.Canceled)
					if errors.Is(err, nogap.ErrOutcomeUnknown) {
						t.Errorf("unknown: %v", err)
					}
				})
			}
			target.AwaitBlocked(t, w.direct)
			require.Eventually(t, func() bool { return db.Stats().InUse == callers }, 10*time.Second, time.Millisecond)
			cancel()
			all.Wait()
		}
		release()
		require.Zero(t, w.applied(t))
		_, err = stock.Increment(t.Context(), 1, 1)
		require.NoError(t, err)
		requireClean(t, db)
		require.Equal(t, 1, w.applied(t))
	})
}

// Nobody asks a PgBouncer to cancel: old ones crash of that.
func TestCancelledBehindPgBouncer(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		for range 2 {
			release := w.lock(t)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			start := time.Now()
			err := execAdder.run(ctx, w, w.direct)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.GreaterOrEqual(t, time.Since(start), time.Second)
			release()
		}
		requireClean(t, w.direct)
	})
}

func assertIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v is not %v", err, want)
	}
}

// A request to cancel that overtakes its statement is lost on the server. The next one is not.
func TestCancelRequestComesTooEarly(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		w, db, proxy := proxied(t, target)
		require.NoError(t, execAdder.run(t.Context(), w, db))
		release := w.lock(t)
		defer release()
		f := proxy.HoldRequest(faultproxy.Executes("UPDATE items"))
		result := cancelAt(t, f, func(ctx context.Context) error { return execAdder.run(ctx, w, db) })
		time.AfterFunc(100*time.Millisecond, proxy.Pass)
		err := <-result
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		release()
		require.Equal(t, 1, w.applied(t))
		requireClean(t, db)
	})
}
