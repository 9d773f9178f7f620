//go:build unix

package distlock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/calm"
	"github.com/nogap-go/nogap/integration/servers"
)

// Several processes with several goroutines each: never two holders, everybody gets it, nothing is left.
func TestMutualExclusion(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		for _, handOver := range []time.Duration{0, 10 * time.Millisecond} {
			t.Run(fmt.Sprintf("handover=%v", handOver), func(t *testing.T) {
				const processes, goroutines, turns = 3, 5, 10
				var holders, total atomic.Int32
				var wg sync.WaitGroup
				for range processes {
					locks := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.HandOver(handOver))
					for range goroutines {
						wg.Go(func() {
							for range turns {
								err := locks.WithLock(context.Background(), "a", func(ctx context.Context, lease *distlock.Lease) error {
									if n := holders.Add(1); n != 1 {
										t.Errorf("%d holders", n)
									}
									total.Add(1)
									time.Sleep(200 * time.Microsecond)
									holders.Add(-1)
									return ctx.Err()
								})
								if err != nil {
									t.Error(err)
								}
							}
						})
					}
				}
				wg.Wait()
				require.EqualValues(t, processes*goroutines*turns, total.Load())
				requireNoKeys(t, unique(t), 5*time.Second, addrs...)
			})
		}
	})
}

func TestTryLock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		here := newLocker(t, addrs, distlock.Prefix(unique(t)))
		there := newLocker(t, addrs, distlock.Prefix(unique(t)))
		before := time.Now()
		lease, err := here.TryLock(t.Context(), "a")
		after := time.Now()
		require.NoError(t, err)
		require.Equal(t, "a", lease.Name())
		require.WithinRange(t, lease.Until(), before.Add(7*time.Second), after.Add(8*time.Second))
		require.NoError(t, lease.Context().Err())
		for _, addr := range addrs {
			require.Equal(t, []string{unique(t) + "a"}, keys(t, addr, unique(t)))
		}

		_, err = here.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		_, err = there.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		var failure *distlock.Error
		require.ErrorAs(t, err, &failure)
		require.Len(t, failure.Nodes, len(addrs))
		for i, n := range failure.Nodes {
			require.True(t, n.Held, i)
			require.Contains(t, addrs, n.Addr)
		}
		other, err := there.TryLock(t.Context(), "b")
		require.NoError(t, err)
		require.NoError(t, other.Unlock(t.Context()))

		require.NoError(t, lease.Unlock(t.Context()))
		require.ErrorIs(t, context.Cause(lease.Context()), context.Canceled)
		lease, err = there.TryLock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, lease.Unlock(t.Context()))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

func TestWithLock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
		mine := errors.New("mine")
		err := locks.WithLock(t.Context(), "a", func(context.Context, *distlock.Lease) error { return mine })
		require.Equal(t, mine, err)

		require.PanicsWithValue(t, "boom", func() {
			locks.WithLock(t.Context(), "a", func(context.Context, *distlock.Lease) error { panic("boom") })
		})
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)

		ctx, cancel := context.WithCancel(t.Context())
		err = locks.WithLock(ctx, "a", func(ctx context.Context, _ *distlock.Lease) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.Canceled)
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

func TestWithLocks(t *testing.T) {
	t.Parallel()
	addrs := servers.Redis(t, 5)
	var lockers []*distlock.Locker
	for range 3 {
		lockers = append(lockers, newLocker(t, addrs, distlock.Prefix(unique(t))))
	}
	balance := map[string]int{"a": 100, "b": 100, "c": 100}
	var wg sync.WaitGroup
	for i, pair := range [][]string{{"a", "b"}, {"b", "a"}, {"b", "c"}, {"c", "b"}, {"c", "a"}, {"a", "c"}} {
		for _, locks := range lockers {
			wg.Go(func() {
				for range 5 {
					err := locks.WithLocks(context.Background(), pair, func(ctx context.Context, leases []*distlock.Lease) error {
						if leases[0].Name() != pair[0] || leases[1].Name() != pair[1] {
							t.Errorf("leases of %v in another order", pair)
						}
						balance[pair[0]] -= i
						balance[pair[1]] += i
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	require.Equal(t, 300, balance["a"]+balance["b"]+balance["c"])

	err := lockers[0].WithLocks(t.Context(), []string{"a", "a", "b"}, func(ctx context.Context, leases []*distlock.Lease) error {
		require.Len(t, leases, 3)
		require.Same(t, leases[0], leases[1])
		return nil
	})
	require.NoError(t, err)
	require.Error(t, lockers[0].WithLocks(t.Context(), nil, nil))
	requireNoKeys(t, unique(t), 5*time.Second, addrs...)
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		limited := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.WaitLimit(100*time.Millisecond))

		clock, start := newCalm(t, addrs[0]), time.Now()
		_, err = limited.Lock(t.Context(), "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
		require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
		require.Less(t, clock.Now(), 100*time.Millisecond+slack)

		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = limited.Lock(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, distlock.ErrNotAcquired)

		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		_, err = limited.Lock(ctx, "a")
		require.ErrorIs(t, err, context.Canceled)
		_, err = limited.TryLock(ctx, "b")
		require.ErrorIs(t, err, context.Canceled)

		require.NoError(t, lease.Unlock(t.Context()))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// The queue of a lock is a key, too, and must not be that of another lock, whatever people call theirs.
func TestNameLikeAQueue(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		for _, name := range []string{"orders", "{shop}:orders"} {
			here := newLocker(t, addrs, distlock.Prefix(unique(t)))
			there := newLocker(t, addrs, distlock.Prefix(unique(t)))
			lease, err := here.Lock(t.Context(), name)
			require.NoError(t, err)
			got := make(chan *distlock.Lease, 1)
			go func() {
				lease, err := there.Lock(context.Background(), name)
				if err != nil {
					t.Error(err)
				}
				got <- lease
			}()
			require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, name) >= 1 }))

			other, err := here.TryLock(t.Context(), name+":queue")
			require.NoError(t, err)
			require.NoError(t, lease.Unlock(t.Context()))
			require.NoError(t, (<-got).Unlock(t.Context()))
			require.NoError(t, other.Unlock(t.Context()))
			requireNoKeys(t, unique(t), 5*time.Second, addrs...)
		}
	})
}

// The goroutines of a process get the lock in the order in which they asked for it, and pass it on without Redis.
func TestHandOverInOrder(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		var mu sync.Mutex
		var events []distlock.Event
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.HandOver(time.Minute), long,
			distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			}))
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)

		const waiters = 20
		var order []int
		var leases []*distlock.Lease
		var wg sync.WaitGroup
		for i := range waiters {
			ctx := &waitedFor{Context: context.Background(), waits: make(chan struct{})}
			wg.Go(func() {
				lease, err := locks.Lock(ctx, "a")
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				leases = append(leases, lease)
				if err := lease.Unlock(context.Background()); err != nil {
					t.Error(err)
				}
			})
			<-ctx.waits // it is in the line
		}
		before := commands(t, addrs)
		require.NoError(t, lease.Unlock(t.Context()))
		wg.Wait()
		sent := commands(t, addrs) - before
		require.LessOrEqual(t, sent, int64(4*len(addrs)), "21 holders, one release")
		for i, got := range order {
			require.Equal(t, i, got)
		}
		for i, l := range leases {
			require.NotSame(t, lease, l, i)
			require.ErrorIs(t, context.Cause(l.Context()), context.Canceled)
		}
		mu.Lock()
		defer mu.Unlock()
		count := map[string]int{}
		for _, e := range events {
			require.NoError(t, e.Err)
			require.Equal(t, "a", e.Name)
			count[fmt.Sprint(e.Kind, e.HandedOver)]++
		}
		require.Equal(t, map[string]int{
			"acquired false": 1, "acquired true": waiters, "waited true": waiters,
			"released true": waiters, "released false": 1,
		}, count)
	})
}

// waitedFor is a context that tells when somebody begins to wait for its end: a caller does so when it has its place in the line.
type waitedFor struct {
	context.Context
	once  sync.Once
	waits chan struct{}
}

func (c *waitedFor) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waits) })
	return c.Context.Done()
}

// commands returns how many commands that change something the servers have processed.
func commands(tb testing.TB, addrs []string) (n int64) {
	tb.Helper()
	for _, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr})
		info, err := client.InfoMap(context.Background(), "commandstats").Result()
		require.NoError(tb, err)
		for name, line := range info["Commandstats"] {
			switch name {
			case "cmdstat_set", "cmdstat_del", "cmdstat_evalsha", "cmdstat_eval", "cmdstat_publish":
				var calls int64
				_, err := fmt.Sscanf(line, "calls=%d", &calls)
				require.NoError(tb, err)
				n += calls
			}
		}
		require.NoError(tb, client.Close())
	}
	return n
}

// A process may not keep the lock for itself: after HandOver another one that waits gets its turn. It is woken each time:
// it does not get the lock by the timer with which it looks by itself. Counted by what the processes do, and not by the
// clock of a busy machine: the one works for a millisecond at a time, so one turn of HandOver is 30 pieces of work at most,
// and a waiter that comes by its timer is overtaken by hundreds.
func TestHandOverIsBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		const handOver, turns = 30 * time.Millisecond, 10
		wakes := wakes{clock: newCalm(t, addrs[0])}
		busy := intercepted(t, addrs, wakes.published, distlock.Prefix(unique(t)), distlock.HandOver(handOver))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		var worked atomic.Int64
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					busy.WithLock(ctx, "a", func(context.Context, *distlock.Lease) error {
						time.Sleep(time.Millisecond)
						worked.Add(1)
						return nil
					})
				}
			})
		}
		require.True(t, eventually(5*time.Second, func() bool { return worked.Load() > 0 }))
		other := intercepted(t, addrs, wakes.tried, distlock.Prefix(unique(t)))
		before := worked.Load()
		for i := range turns {
			wakes.reset()
			lease, err := other.Lock(t.Context(), "a")
			require.NoError(t, err)
			require.True(t, wakes.wokeLast(), "lock %d of %d was had by the timer", i, turns)
			require.NoError(t, lease.Unlock(t.Context()))
		}
		require.Less(t, worked.Load()-before, int64(3*turns*handOver/time.Millisecond), "overtaken")
	})
}

// wakes notes the attempts of a process to get a lock, and how often another one has sent it a hint.
type wakes struct {
	mu    sync.Mutex
	tries []string // their values, each of which is new
	hints []int    // for each: how many were sent before it began
	times []time.Duration
	sent  int
	clock *calm.Clock
}

func (w *wakes) published(_ context.Context, cmd redis.Cmder) {
	if cmd.Name() == "publish" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent++
	}
}

func (w *wakes) tried(_ context.Context, cmd redis.Cmder) {
	if cmd.Name() != "set" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if value := cmd.Args()[2].(string); !slices.Contains(w.tries, value) {
		w.tries, w.hints, w.times = append(w.tries, value), append(w.hints, w.sent), append(w.times, w.clock.Now())
	}
}

func (w *wakes) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries, w.hints, w.times = nil, nil, nil
}

// wokeLast reports whether a hint was sent between the last two attempts, or whether the last one followed sooner than by
// the timer, which takes 750 ms: where the vote was split, or the lock was released before the process was in the queue.
func (w *wakes) wokeLast() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.tries)
	return n == 1 || w.hints[n-1] > w.hints[n-2] || w.times[n-1]-w.times[n-2] < 750*time.Millisecond
}

func TestClose(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks, err := distlock.New(connect(t, addrs...), distlock.Prefix(unique(t)), patient)
		require.NoError(t, err)
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)))
		mine, err := locks.Lock(t.Context(), "mine")
		require.NoError(t, err)
		theirs, err := holder.Lock(t.Context(), "theirs")
		require.NoError(t, err)

		failed := make(chan error, 3)
		for _, name := range []string{"mine", "theirs", "theirs"} {
			go func() {
				_, err := locks.Lock(context.Background(), name)
				failed <- err
			}()
		}
		require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, "theirs") == 1 }))
		require.NoError(t, locks.Close())
		for range 3 {
			select {
			case err := <-failed:
				require.ErrorIs(t, err, distlock.ErrClosed)
				require.ErrorIs(t, err, distlock.ErrNotAcquired)
			case <-time.After(5 * time.Second):
				require.Fail(t, "a caller still waits")
			}
		}
		_, err = locks.Lock(t.Context(), "b")
		require.ErrorIs(t, err, distlock.ErrClosed)
		require.NoError(t, mine.Context().Err(), "a lease that is held stays held")
		require.NoError(t, mine.Unlock(t.Context()))
		require.NoError(t, theirs.Unlock(t.Context()))
		require.NoError(t, locks.Close())
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// Any UniversalClient will do.
func TestKindsOfClients(t *testing.T) {
	t.Parallel()
	addr := servers.Redis(t, 1)[0]
	own := redis.NewClient(&redis.Options{Addr: addr})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": addr}})
	clients := map[string]redis.UniversalClient{
		"Ring":    ring,
		"Wrapped": struct{ redis.UniversalClient }{own},
	}
	t.Cleanup(func() { own.Close(); ring.Close() })
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			here, err := distlock.New([]redis.UniversalClient{client}, distlock.Prefix(unique(t)), patient)
			require.NoError(t, err)
			defer here.Close()
			there := newLocker(t, []string{addr}, distlock.Prefix(unique(t)))
			testWakeUp(t, addr, here, there)
			testWakeUp(t, addr, there, here)
			requireNoKeys(t, unique(t), 5*time.Second, addr)
		})
	}
}

// testWakeUp has one process wait for the other, longer than it would take by chance.
func testWakeUp(t *testing.T, addr string, holder, waiter *distlock.Locker) {
	t.Helper()
	clock := newCalm(t, addr)
	for range 5 {
		lease, err := holder.Lock(t.Context(), "wake")
		require.NoError(t, err)
		var released time.Duration
		got := make(chan time.Duration, 1)
		go func() {
			lease, err := waiter.Lock(context.Background(), "wake")
			if err != nil {
				t.Error(err)
			}
			got <- clock.Now() - released
			lease.Unlock(context.Background())
		}()
		require.True(t, eventually(5*time.Second, func() bool { return queued(t, []string{addr}, "wake") >= 1 }))
		released = clock.Now()
		require.NoError(t, lease.Unlock(t.Context()))
		require.Less(t, <-got, 500*time.Millisecond, "the timer takes 750 ms: it was not woken")
	}
}
