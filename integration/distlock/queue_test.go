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
	return newLockerOf(tb, addrs, func(o *redis.Options) redis.UniversalClient {
		o.ContextTimeoutEnabled = true
		client := redis.NewClient(o)
		client.AddHook(f)
		return client
	}, opts...)
}

// Callers that come and go while the lock is held disturb nobody who waits for it: no process is woken in vain, and
// each keeps its place.
func TestHastyCallersDisturbNobody(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		// Who tries by himself, since it has taken so long, may come first: on a busy machine it is looked at again.
		for n := 1; !hastyCallers(t, addrs); n++ {
			require.Less(t, n, 8, "those who wait came in another order each time")
		}
	})
}

// hastyCallers reports whether those who waited got the lock in their order. They must if it was all over before they tried by
// themselves.
func hastyCallers(t *testing.T, addrs []string) (inOrder bool) {
	const alone = 750 * time.Millisecond // after which a waiter tries by itself, again and again
	queued := time.Now()
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
	began, before, start := time.Now(), queue(t, addrs, "a"), attempts.Load()

	var hasty sync.WaitGroup
	end := time.Now().Add(300 * time.Millisecond)
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
	tries, rounds := attempts.Load()-start, 1+int(time.Since(began)/alone) // a busy machine may take longer than end
	require.True(t, eventually(5*time.Second, func() bool { return len(queue(t, addrs, "a")) == 3 }))
	require.Equal(t, before, queue(t, addrs, "a"))
	require.LessOrEqual(t, tries, int32(3*len(addrs)*rounds), "they were woken in vain")

	require.NoError(t, lease.Unlock(t.Context()))
	wg.Wait()
	inOrder = slices.IsSorted(order)
	require.True(t, inOrder || time.Since(queued) > alone, order)
	requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	return inOrder
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
	clock := newCalm(t, addrs[0])
	got := make(chan time.Duration, 1)
	go func() {
		defer close(got)
		lease, err := locks.Lock(t.Context(), "a")
		if err != nil {
			t.Error(err)
			return
		}
		got <- clock.Now()
		lease.Unlock(context.Background())
	}()
	defer func() { <-got }()
	// Until the late place has come, and perhaps gone; there is nothing to ask.
	require.True(t, eventually(5*time.Second, func() bool { return clock.Now() > 200*time.Millisecond }))
	place := queue(t, addrs, "a")
	released := clock.Now()
	require.NoError(t, lease.Unlock(t.Context()))
	require.Less(t, <-got-released, 400*time.Millisecond, "the timer takes 550 ms: it was not woken")
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
		clock, got := newCalm(t, addrs[0]), make(chan time.Duration, 1)
		go func() {
			lease, err := waiter.Lock(context.Background(), "a")
			if err != nil {
				t.Error(err)
			}
			got <- clock.Now()
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
		released := clock.Now()
		require.NoError(t, lease.Unlock(t.Context()))
		require.Less(t, <-got-released, time.Second+slack)
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}
