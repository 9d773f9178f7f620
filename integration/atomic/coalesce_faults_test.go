//go:build unix

package atomic_test

import (
	"context"
	"errors"
	stdatomic "sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
)

// One batch whose answer is lost, for sure: all of it is there, and all of its callers know that they do not know.
func TestCoalescerLostAnswer(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		db, bad, proxy := itemsBehindProxy(t, target)
		setStock(t, db, 100)
		hot := coalescer(t, bad)
		_, err := hot.Increment(t.Context(), 901, "sku-1") // asks the server what it is
		require.NoError(t, err)

		lost := proxy.LoseReply(faultproxy.Executes("<=")) // of the first batch: what a caller alone sends has no upper bound
		var unknown, granted stdatomic.Int64
		together(100, func(int) {
			for range 3 {
				switch _, err := hot.Decrement(context.Background(), 2, "sku-1"); {
				case err == nil:
					granted.Add(1)
				case errors.Is(err, nogap.ErrOutcomeUnknown):
					unknown.Add(1)
				default:
					t.Error(err)
				}
			}
		})
		lost.Await(t)
		require.NotZero(t, unknown.Load())
		require.NotZero(t, granted.Load())
		require.EqualValues(t, 300, unknown.Load()+granted.Load())
		require.EqualValues(t, 1001-2*300, stockOf[int64](t, db, "sku-1"), "once, and not twice")
	})
}

// A server that does not answer costs a batch its Timeout, and a caller alone without a deadline does not hold up the
// others. lib/pq does not give up while it connects: who sends the batch then waits for it, and nobody else.
func TestCoalescerHungServer(t *testing.T) {
	matrix.Parallel(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		db, bad, proxy := itemsBehindProxy(t, target)
		setStock(t, db, 1000)
		bad.SetMaxIdleConns(10)
		// Long enough for all to come before the first batch leaves: who comes later makes another one, with one more who sends it.
		hot := coalescer(t, bad, atomic.Timeout(2*time.Second))
		_, err := hot.Increment(t.Context(), 1, "sku-1")
		require.NoError(t, err)

		proxy.Hang()
		const callers, stuck = 50, 2 // the caller alone, and perhaps the one who sends the batch
		errs := make(chan error, callers)
		began := time.Now()
		go together(callers, func(int) {
			_, err := hot.Decrement(context.Background(), 2, "sku-1")
			errs <- err
		})
		unknown := int64(0)
		for range callers - stuck {
			switch err := <-errs; {
			case errors.Is(err, nogap.ErrOutcomeUnknown):
				unknown++
			case err == nil:
				t.Error("granted by a server that hangs")
			case !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			}
		}
		t.Logf("%d callers had their answer after %v", callers-stuck, time.Since(began))
		proxy.Pass()
		proxy.Cut()
		for range stuck {
			if err := <-errs; err == nil || errors.Is(err, nogap.ErrOutcomeUnknown) {
				unknown++ // or known: it counts alike below
			}
		}
		left := int64(0)
		require.Eventually(t, func() bool {
			left, err = hot.Increment(t.Context(), 1, "sku-1")
			return err == nil
		}, time.Minute, 10*time.Millisecond)
		require.GreaterOrEqual(t, left, 1002-2*unknown)
	})
}
