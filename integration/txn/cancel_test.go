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

// startClock starts a clock for which the database has to answer, over a connection that nobody else needs.
func (w *world) startClock(t *testing.T) *calm.Clock {
	t.Helper()
	db := w.Connect(t, w.dsn)
	return calm.Start(t, func(ctx context.Context) { _ = db.PingContext(ctx) })
}

// told reports whether err tells what came of a call whose context ended at a time of the clock. It fails the test if err does not,
// unless the machine stood still for the second of grace.
func told(t *testing.T, err error, clock *calm.Clock, ended time.Duration) bool {
	t.Helper()
	if !errors.Is(err, nogap.ErrOutcomeUnknown) {
		return true
	}
	if passed := clock.Now() - ended; passed > 700*time.Millisecond {
		t.Errorf("unknown after %v: %v", passed, err)
	}
	return false
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
		clock := w.startClock(t)
		release := w.lock(t)
		lost := 0 // calls that may still be applied when the lock is gone
		for range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			errs := make([]error, callers)
			var all sync.WaitGroup
			for i := range errs {
				all.Go(func() { _, errs[i] = stock.Increment(ctx, 1, 1) })
			}
			target.AwaitBlocked(t, w.direct)
			require.Eventually(t, func() bool { return db.Stats().InUse == callers }, 10*time.Second, time.Millisecond)
			ended := clock.Now()
			cancel()
			all.Wait()
			for _, err := range errs {
				require.ErrorIs(t, err, context.Canceled)
				if !told(t, err, clock, ended) {
					lost++
				}
			}
		}
		release()
		require.LessOrEqual(t, w.applied(t), lost)
		_, err = stock.Increment(t.Context(), 1, 1)
		require.NoError(t, err)
		requireClean(t, db)
		n := w.applied(t)
		require.Positive(t, n)
		require.LessOrEqual(t, n, lost+1)
	})
}

// Nobody asks a PgBouncer to cancel: old ones crash of that.
func TestCancelledBehindPgBouncer(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		for range 2 {
			release := w.lock(t)
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- execAdder.run(ctx, w, w.direct) }()
			w.AwaitBlocked(t, w.direct)
			start := time.Now()
			cancel()
			err := <-result
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.GreaterOrEqual(t, time.Since(start), time.Second)
			release()
			// The session goes on, and must not be taken for that of the next round.
			w.AwaitUnblocked(t, w.direct)
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
		clock := w.startClock(t)
		release := w.lock(t)
		defer release()
		f := proxy.HoldRequest(faultproxy.Executes("UPDATE items"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		result := make(chan error, 1)
		go func() { result <- execAdder.run(ctx, w, db) }()
		f.Await(t)
		ended := clock.Now()
		cancel()
		time.AfterFunc(100*time.Millisecond, proxy.Pass)
		err := <-result
		require.ErrorIs(t, err, context.Canceled)
		sure := told(t, err, clock, ended)
		release()
		if n := w.applied(t); sure {
			require.Equal(t, 1, n)
		} else {
			require.LessOrEqual(t, n, 2)
		}
		requireClean(t, db)
	})
}
