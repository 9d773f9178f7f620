//go:build unix

package distlock_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// queue returns the processes that wait for a lock, over all nodes.
func queue(tb testing.TB, addrs []string, name string) (processes []string) {
	tb.Helper()
	for _, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr})
		for _, key := range keys(tb, addr, unique(tb)+name) {
			if list, err := client.LRange(context.Background(), key, 0, -1).Result(); err == nil {
				processes = append(processes, list...)
			}
		}
		client.Close()
	}
	return processes
}

// interceptor is a go-redis hook that runs a function before each command.
type interceptor func(ctx context.Context, cmd redis.Cmder)

func (interceptor) DialHook(next redis.DialHook) redis.DialHook { return next }

func (interceptor) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f interceptor) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		f(ctx, cmd)
		return next(ctx, cmd)
	}
}

// intercepted returns a Locker whose commands pass through a function.
func intercepted(tb testing.TB, addrs []string, f interceptor, opts ...distlock.Option) *distlock.Locker {
	tb.Helper()
	var clients []redis.UniversalClient
	for _, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
		client.AddHook(f)
		tb.Cleanup(func() { client.Close() })
		clients = append(clients, client)
	}
	locks, err := distlock.New(clients, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { locks.Close() })
	return locks
}

// Callers that come and go while the lock is held disturb nobody who waits for it: no process is woken in vain, and
// each keeps its place.
func TestHastyCallersDisturbNobody(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		var attempts atomic.Int32
		var wg sync.WaitGroup
		t.Cleanup(wg.Wait)
		var mu sync.Mutex
		var order []int
		for i := range 3 {
			locks := intercepted(t, addrs, func(_ context.Context, cmd redis.Cmder) {
				if cmd.Name() == "set" {
					attempts.Add(1)
				}
			}, distlock.Prefix(unique(t)), patient)
			wg.Go(func() {
				lease, err := locks.Lock(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				if err := lease.Unlock(context.Background()); err != nil {
					t.Error(err)
				}
			})
			require.True(t, eventually(5*time.Second, func() bool { return len(queue(t, addrs, "a")) == i+1 }))
		}
		before, start := queue(t, addrs, "a"), attempts.Load()

		var hasty sync.WaitGroup
		end := time.Now().Add(500 * time.Millisecond) // a waiter tries by itself after 750 ms
		for i := range 8 {
			locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
			hasty.Go(func() {
				for j := 0; time.Now().Before(end); j++ {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+(i*97+j*31)%600)*time.Microsecond)
					if lease, err := locks.Lock(ctx, "a"); err == nil {
						t.Error("got the lock that is held")
						lease.Unlock(ctx)
					}
					cancel()
				}
			})
		}
		hasty.Wait()
		tries := attempts.Load() - start
		require.True(t, eventually(5*time.Second, func() bool { return len(queue(t, addrs, "a")) == 3 }))
		require.Equal(t, before, queue(t, addrs, "a"))
		require.LessOrEqual(t, tries, int32(3*len(addrs)), "they were woken in vain")

		require.NoError(t, lease.Unlock(t.Context()))
		wg.Wait()
		require.True(t, slices.IsSorted(order), order)
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// A caller gives up while its place in the queue is still being asked for. The next caller of the process has a place
// of its own, which it keeps.
func TestPlaceThatComesLate(t *testing.T) {
	addrs := servers.Redis(t, 1)
	holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
	lease, err := holder.Lock(t.Context(), "a")
	require.NoError(t, err)
	var slow atomic.Bool
	slow.Store(true)
	locks := intercepted(t, addrs, func(ctx context.Context, cmd redis.Cmder) {
		if args := cmd.Args(); cmd.Name() == "evalsha" && args[len(args)-1] == "RPUSH" && slow.Swap(false) {
			time.Sleep(100 * time.Millisecond) // a slow network, once
		}
	}, distlock.Prefix(unique(t)), patient)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = locks.Lock(ctx, "a")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	got := make(chan time.Time, 1)
	go func() {
		defer close(got)
		lease, err := locks.Lock(t.Context(), "a")
		if err != nil {
			t.Error(err)
			return
		}
		got <- time.Now()
		lease.Unlock(context.Background())
	}()
	defer func() { <-got }()
	time.Sleep(200 * time.Millisecond) // until the late place has come, and perhaps gone; there is nothing to ask
	place := queue(t, addrs, "a")
	released := time.Now()
	require.NoError(t, lease.Unlock(t.Context()))
	require.Less(t, (<-got).Sub(released), 400*time.Millisecond, "the timer takes 550 ms: it was not woken")
	require.Len(t, place, 1)
	requireNoKeys(t, unique(t), 5*time.Second, addrs...)
}

// queued returns how many processes wait for a lock, over all nodes.
func queued(tb testing.TB, addrs []string, name string) (n int64) {
	tb.Helper()
	for _, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr})
		for _, key := range keys(tb, addr, unique(tb)+name) {
			if length, err := client.LLen(context.Background(), key).Result(); err == nil {
				n += length
			}
		}
		client.Close()
	}
	return n
}

// A wake-up that gets lost costs at most a second.
func TestLostWakeUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
		waiter := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		got := make(chan time.Time, 1)
		go func() {
			lease, err := waiter.Lock(context.Background(), "a")
			if err != nil {
				t.Error(err)
			}
			got <- time.Now()
			lease.Unlock(context.Background())
		}()
		require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, "a") == 1 }))
		for _, addr := range addrs { // the queue is gone, and nobody is told
			client := redis.NewClient(&redis.Options{Addr: addr})
			for _, key := range keys(t, addr, unique(t)) {
				if kind, _ := client.Type(t.Context(), key).Result(); kind == "list" {
					require.NoError(t, client.Del(t.Context(), key).Err())
				}
			}
			client.Close()
		}
		released := time.Now()
		require.NoError(t, lease.Unlock(t.Context()))
		require.Less(t, (<-got).Sub(released), time.Second+slack)
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}
