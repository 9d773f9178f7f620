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
				overtaken := 0
				for range turns {
					before := count()
					lease, err := locks.Lock(t.Context(), "a")
					require.NoError(t, err)
					overtaken += count() - before
					require.NoError(t, lease.Unlock(t.Context()))
				}
				t.Logf("overtaken %d times in %d turns", overtaken, turns)
				// Once by each in every turn. The rest is for a busy machine, on which a process that is woken may be late.
				require.LessOrEqual(t, overtaken, turns*loops*3/2)
			})
		}
	}
}

// The lock is not free to the process that has just released it for another one, and is soon if that one does not come.
func TestTryLockAfterWakingAnother(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
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
		require.NoError(t, lease.Unlock(t.Context()))
		_, err = holder.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		theirs := <-got
		cancel()
		require.NoError(t, theirs.Context().Err())
		require.NoError(t, theirs.Unlock(t.Context()))
		require.True(t, eventually(5*time.Second, func() bool {
			lease, err := holder.TryLock(t.Context(), "a")
			return err == nil && lease.Unlock(t.Context()) == nil
		}))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}
