//go:build unix

package distlock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
)

// A caller that goes away in the middle of an attempt leaves nothing behind.
func TestCancelledAttempts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		for kind := range kinds {
			locks := newKind(t, kind, addrs, distlock.Prefix(unique(t)), patient)
			for i := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*5)*time.Microsecond)
				lease, err := locks.Lock(ctx, "a")
				cancel()
				if err == nil {
					require.NoError(t, lease.Unlock(ctx), "with a context that has ended")
					continue
				}
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			requireNoKeys(t, unique(t), 5*time.Second, addrs...)
		}
	})
}

// Callers that give up while they wait leave no keys, and pass on the hint that they may have got.
func TestCancelledWaiters(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		clock := newCalm(t, addrs[0])
		var wg sync.WaitGroup
		for range 3 {
			locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
			for i := range 3 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20+10*i)*time.Millisecond)
					defer cancel()
					start := clock.Now()
					_, err := locks.Lock(ctx, "a")
					if took := clock.Now() - start; !errors.Is(err, context.DeadlineExceeded) || took > 50*time.Millisecond+slack {
						t.Errorf("after %v: %v", took, err)
					}
				})
			}
		}
		wg.Wait()
		require.True(t, eventually(5*time.Second, func() bool {
			left := 0
			for _, addr := range addrs {
				left += len(keys(t, addr, unique(t)))
			}
			return left == len(addrs)
		}), "only the holder's own keys are left")

		// One waiter gives up at the moment when the lock is released; the other must get it soon, not by the timer.
		first, second := newLocker(t, addrs, distlock.Prefix(unique(t))), newLocker(t, addrs, distlock.Prefix(unique(t)))
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if lease, err := first.Lock(ctx, "a"); err == nil {
					lease.Unlock(ctx)
				}
			}()
			require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, "a") >= 1 }))
			got := make(chan *distlock.Lease, 1)
			go func() {
				lease, err := second.Lock(context.Background(), "a")
				if err != nil {
					t.Error(err)
				}
				got <- lease
			}()
			require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, "a") >= 2 }))
			go cancel()
			require.NoError(t, lease.Unlock(t.Context()))
			start := clock.Now()
			theirs := <-got
			require.Less(t, clock.Now()-start, 500*time.Millisecond, "the timer takes 750 ms: the hint was swallowed")
			require.NoError(t, theirs.Unlock(t.Context()))
			<-gone
			cancel()
			lease, err = holder.Lock(t.Context(), "a")
			require.NoError(t, err)
		}
		require.NoError(t, lease.Unlock(t.Context()))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}
