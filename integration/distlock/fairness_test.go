//go:build unix

package distlock_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// loop takes the lock, works for a while and releases it, over and over on one goroutine. It counts how often in Redis.
func loop(locks *distlock.Locker) error {
	ctx := context.Background()
	counter := redis.NewClient(&redis.Options{Addr: firstAddr()})
	fmt.Println("ready")
	for {
		lease, err := locks.Lock(ctx, "a")
		if err != nil {
			return err
		}
		if err := counter.Incr(ctx, countKey(prefixOfChild())).Err(); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
		if err := lease.Unlock(ctx); err != nil {
			return err
		}
	}
}

// countKey returns the key under which the loops of a test count.
func countKey(prefix string) string { return "count of " + prefix }

// Processes that work in a loop let those go first that wait, although nobody else waits in their own process: each
// gets its turn.
func TestWorkerLoopsTakeTurns(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("nodes=%d,loops=%d", n, loops), func(t *testing.T) {
				addrs := servers.Redis(t, n)
				for range loops {
					p := start(t, "loop", addrs, unique(t))
					require.Equal(t, "ready", p.line(t))
				}
				counter := redis.NewClient(&redis.Options{Addr: addrs[0]})
				defer counter.Close()
				count := func() int {
					n, err := counter.Get(t.Context(), countKey(unique(t))).Int()
					if err != redis.Nil {
						require.NoError(t, err)
					}
					return n
				}
				require.True(t, eventually(10*time.Second, func() bool { return count() > 3 }))
				locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
				const turns = 10
				pauses := watchPauses(t)
				// Once by each in every turn. The rest is for a busy machine, on which a process that is woken may be late. If
				// this one was seen to stand still, and so come late, the turns are counted again.
				for n := 1; ; n++ {
					began, overtaken := time.Now(), 0
					for range turns {
						before := count()
						lease, err := locks.Lock(t.Context(), "a")
						require.NoError(t, err)
						overtaken += count() - before
						require.NoError(t, lease.Unlock(t.Context()))
					}
					paused := pauses.since(began)
					t.Logf("overtaken %d times in %d turns, the longest pause was %v", overtaken, turns, paused)
					if overtaken <= turns*loops*3/2 {
						break
					}
					require.Greater(t, paused, 40*time.Millisecond, "overtaken %d times", overtaken)
					require.Less(t, n, 8, "the process stood still each time")
				}
			})
		}
	}
}

// The lock is not free to the process that has just released it for another one, and is soon if that one does not come.
func TestTryLockAfterWakingAnother(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		// The other one has a moment only. Where the machine took longer it is looked at again.
		for n := 1; !leftToAnother(t, addrs); n++ {
			require.Less(t, n, 8, "the moment was over each time")
		}
	})
}

// leftToAnother reports whether the process that had released a lock could not get it again while another one was on its way.
func leftToAnother(t *testing.T, addrs []string) bool {
	const moment = 25 * time.Millisecond // which the other one has to get the lock
	holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
	lease, err := holder.Lock(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiter := newLocker(t, addrs, distlock.Prefix(unique(t)))
	got := make(chan *distlock.Lease, 1)
	go func() {
		lease, err := waiter.Lock(ctx, "a")
		if err != nil {
			t.Error(err)
		}
		got <- lease
	}()
	require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, "a") == 1 }))
	released := time.Now()
	require.NoError(t, lease.Unlock(t.Context()))
	again, tried := holder.TryLock(t.Context(), "a")
	if tried == nil {
		require.Greater(t, time.Since(released), moment, "it was not left to the other one")
		require.NoError(t, again.Unlock(t.Context()))
	} else {
		require.ErrorIs(t, tried, distlock.ErrNotAcquired)
	}
	theirs := <-got
	cancel()
	require.NoError(t, theirs.Context().Err())
	require.NoError(t, theirs.Unlock(t.Context()))
	require.True(t, eventually(5*time.Second, func() bool {
		lease, err := holder.TryLock(t.Context(), "a")
		return err == nil && lease.Unlock(t.Context()) == nil
	}))
	requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	return tried != nil
}
