//go:build unix

package distlock_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/servers"
)

// slack is what a busy machine may add to a time.
const slack = 500 * time.Millisecond

// kinds are clients that keep to a timeout by themselves, with a copy of the client or with the deadline of a context,
// and clients that have to be left behind.
var kinds = map[string]func(*redis.Options) redis.UniversalClient{
	"Client": func(o *redis.Options) redis.UniversalClient { return redis.NewClient(o) },
	"Deadline": func(o *redis.Options) redis.UniversalClient {
		o.ContextTimeoutEnabled = true
		return redis.NewClient(o)
	},
	"Wrapped": func(o *redis.Options) redis.UniversalClient {
		return struct{ redis.UniversalClient }{redis.NewClient(o)}
	},
}

func newKind(t *testing.T, kind string, addrs []string, opts ...distlock.Option) *distlock.Locker {
	t.Helper()
	var clients []redis.UniversalClient
	for _, addr := range addrs {
		client := kinds[kind](&redis.Options{Addr: addr})
		t.Cleanup(func() { client.Close() })
		clients = append(clients, client)
	}
	locks, err := distlock.New(clients, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	return locks
}

// With one or two of five nodes stopped, locks cost at most NodeTimeout once and nothing afterwards, although the
// clients have go-redis's own timeouts. With three nothing is granted, and the error says why.
func TestStoppedNodes(t *testing.T) {
	t.Parallel()
	const nodeTimeout, ttl = 500 * time.Millisecond, 5 * time.Second
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			nodes := servers.StartRedis(t, 5)
			locks := newKind(t, kind, addrs(nodes), distlock.NodeTimeout(nodeTimeout), distlock.TTL(ttl))
			turn := func(name string) (acquire, release time.Duration) {
				start := time.Now()
				lease, err := locks.Lock(t.Context(), name)
				acquire = time.Since(start)
				require.NoError(t, err)
				start = time.Now()
				err = lease.Unlock(t.Context())
				release = time.Since(start)
				require.NoError(t, err)
				return acquire, release
			}
			turn("warm")
			for stopped := 1; stopped <= 2; stopped++ {
				nodes[stopped-1].Pause(t)
				acquire, release := turn(fmt.Sprint("first ", stopped))
				require.Less(t, acquire, nodeTimeout+slack)
				require.Less(t, release, nodeTimeout+slack)
				start := time.Now()
				for i := range 20 {
					turn(fmt.Sprint("next ", stopped, i))
				}
				require.Less(t, time.Since(start), 20*nodeTimeout/4, "a node that hangs is not waited for again")
			}
			nodes[2].Pause(t)
			start := time.Now()
			_, err := locks.TryLock(t.Context(), "three")
			require.Less(t, time.Since(start), 2*nodeTimeout+slack)
			require.ErrorIs(t, err, distlock.ErrNotAcquired)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			var failure *distlock.Error
			require.ErrorAs(t, err, &failure)
			require.Len(t, failure.Nodes, 3)
			for _, n := range failure.Nodes {
				require.Less(t, n.Node, 3)
				if kind != "Wrapped" {
					require.Equal(t, nodes[n.Node].Addr, n.Addr)
				}
				require.False(t, n.Held)
				require.Regexp(t, "no answer within 500ms|earlier commands are still unanswered", n.Error())
			}

			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start = time.Now()
			_, err = locks.Lock(ctx, "three")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(start), 50*time.Millisecond+slack)

			start = time.Now()
			_, err = locks.Lock(t.Context(), "three")
			require.ErrorIs(t, err, distlock.ErrNotAcquired)
			require.InDelta(t, (ttl + nodeTimeout).Seconds(), time.Since(start).Seconds(), 1.5, "gives up when it lasts for a TTL")

			for _, n := range nodes[:3] {
				n.Resume(t)
			}
			requireNoKeys(t, "", ttl-time.Second, addrs(nodes)...)
			require.True(t, eventually(2*time.Second, func() bool {
				lease, err := locks.TryLock(t.Context(), "three")
				return err == nil && lease.Unlock(t.Context()) == nil
			}), "works again")
		})
	}
}

// NodeTimeout also binds a client that is to set no deadline at all.
func TestStoppedNodeOfAClientWithoutTimeouts(t *testing.T) {
	t.Parallel()
	node := servers.StartRedis(t, 1)[0]
	client := redis.NewClient(&redis.Options{
		Addr: node.Addr, ContextTimeoutEnabled: true, ReadTimeout: -2, WriteTimeout: -2, // -2 is go-redis's "no deadline"
	})
	t.Cleanup(func() { client.Close() })
	locks, err := distlock.New([]redis.UniversalClient{client}, distlock.NodeTimeout(200*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	lease, err := locks.TryLock(t.Context(), "warm")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))

	node.Pause(t)
	tried := make(chan error, 1)
	go func() {
		_, err := locks.TryLock(context.Background(), "a")
		tried <- err
	}()
	select {
	case err := <-tried:
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
	case <-time.After(5 * time.Second):
		require.Fail(t, "it hangs")
	}
}

// slowConn is a connection on which each answer takes a while.
type slowConn struct {
	net.Conn
	delay    *atomic.Int64
	deadline time.Time
}

func (c *slowConn) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

func (c *slowConn) Read(b []byte) (int, error) {
	if delay := time.Duration(c.delay.Load()); delay > 0 {
		time.Sleep(min(delay, time.Until(c.deadline)))
	}
	return c.Conn.Read(b)
}

// NodeTimeout is the time for an attempt, and not for each of the commands that it takes.
func TestSlowNode(t *testing.T) {
	t.Parallel()
	const nodeTimeout = time.Second
	addr := servers.Redis(t, 1)[0]
	var delay atomic.Int64
	client := redis.NewClient(&redis.Options{Addr: addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &slowConn{Conn: conn, delay: &delay}, err
	}})
	t.Cleanup(func() { client.Close() })
	locks, err := distlock.New([]redis.UniversalClient{client}, distlock.Prefix(unique(t)), distlock.NodeTimeout(nodeTimeout))
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	lease, err := newLocker(t, []string{addr}, distlock.Prefix(unique(t))).Lock(t.Context(), "a")
	require.NoError(t, err)
	_, err = locks.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)

	delay.Store(int64(nodeTimeout * 8 / 10))
	start := time.Now()
	_, err = locks.TryLock(t.Context(), "a") // SET, and GET
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.Less(t, time.Since(start), nodeTimeout+slack)
	delay.Store(0)
	require.NoError(t, lease.Unlock(t.Context()))
}

// A stopped node has commands in its socket that nobody waits for any more, and runs them when it goes on. What they
// leave must be gone soon.
func TestLateWritesAreCleanedUp(t *testing.T) {
	t.Parallel()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			node := servers.StartRedis(t, 1)[0]
			locks := newKind(t, kind, []string{node.Addr}, distlock.NodeTimeout(300*time.Millisecond), distlock.TTL(time.Minute))
			lease, err := locks.Lock(t.Context(), "warm")
			require.NoError(t, err)
			require.NoError(t, lease.Unlock(t.Context()))

			node.Pause(t)
			for range 5 {
				_, err = locks.TryLock(t.Context(), "a")
				require.ErrorIs(t, err, distlock.ErrNotAcquired)
			}
			node.Resume(t)
			start := time.Now()
			requireNoKeys(t, "a", 3*time.Second, node.Addr)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			lease, err = locks.Lock(ctx, "a")
			require.NoError(t, err)
			require.Less(t, time.Since(start), 3*time.Second, "not the TTL")
			require.NoError(t, lease.Unlock(t.Context()))
		})
	}
}

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
		var wg sync.WaitGroup
		for range 3 {
			locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
			for i := range 3 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20+10*i)*time.Millisecond)
					defer cancel()
					start := time.Now()
					_, err := locks.Lock(ctx, "a")
					if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 50*time.Millisecond+slack {
						t.Errorf("after %v: %v", time.Since(start), err)
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
			start := time.Now()
			theirs := <-got
			require.Less(t, time.Since(start), 500*time.Millisecond, "the timer takes 750 ms: the hint was swallowed")
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

// A lease is lost while its holder hangs. Other goroutines of the process get the lock, as other processes do, and the
// holder's late Unlock does them no harm.
func TestLostLeaseFreesTheTurn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLockerWith(t, addrs, distlock.Prefix(unique(t)), distlock.TTL(1500*time.Millisecond))
		hung, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		leases := make(chan *distlock.Lease, 2)
		var wg sync.WaitGroup
		t.Cleanup(wg.Wait)
		for range 2 {
			wg.Go(func() {
				lease, err := locks.Lock(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				leases <- lease
			})
		}
		expire(t, addrs, unique(t)+"a")
		var second *distlock.Lease
		select {
		case second = <-leases:
		case <-time.After(5 * time.Second):
			require.Fail(t, "they wait for the holder that hangs")
		}
		require.ErrorIs(t, context.Cause(hung.Context()), distlock.ErrLost)
		require.ErrorIs(t, hung.Unlock(t.Context()), distlock.ErrLost)
		require.NoError(t, second.Context().Err())
		require.Empty(t, leases, "the Unlock let another caller in")
		require.NoError(t, second.Unlock(t.Context()))
		third := <-leases
		require.NoError(t, third.Context().Err())
		require.NoError(t, third.Unlock(t.Context()))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// Nodes that crash come back empty. As long as a majority has the lock it is held; without one its holder is told
// before the lease's time is over.
func TestRestartedNodes(t *testing.T) {
	const ttl = 6 * time.Second
	nodes := servers.StartRedis(t, 5)
	var lost []distlock.Event
	var mu sync.Mutex
	locks := newLockerWith(t, addrs(nodes), distlock.TTL(ttl), distlock.NodeTimeout(ttl/4), distlock.OnEvent(func(_ context.Context, e distlock.Event) {
		if e.Kind == distlock.Lost {
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, e)
		}
	}))
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	for _, n := range nodes[:2] {
		n.Kill(t)
		n.Restart(t)
	}
	until := lease.Until()
	require.True(t, eventually(3*ttl, func() bool { return lease.Until().After(until.Add(ttl)) }),
		"it is still extended")
	require.NoError(t, lease.Context().Err())

	nodes[2].Kill(t)
	nodes[2].Restart(t)
	select {
	case <-lease.Context().Done():
	case <-time.After(2 * ttl):
		require.Fail(t, "the holder was not told")
	}
	require.True(t, time.Now().Before(lease.Until()), "before its time is over")
	require.Equal(t, distlock.ErrLost, context.Cause(lease.Context()))
	require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
	mu.Lock()
	require.Len(t, lost, 1)
	require.ErrorIs(t, lost[0].Err, distlock.ErrLost)
	mu.Unlock()
	lease, err = locks.TryLock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
	requireNoKeys(t, "", 5*time.Second, addrs(nodes)...)
}

// The holder is cut off from all nodes: its context is cancelled before its time is over, and once it is, others get
// the lock. It can do no harm when the connection is back.
func TestPartitionedHolder(t *testing.T) {
	t.Parallel()
	const ttl = 8 * time.Second // a hundredth of it is the time in which the holder must hear of the loss
	for _, n := range []int{1, 5} {
		t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) {
			t.Parallel()
			nodes := servers.StartRedis(t, n)
			var proxies []*faultproxy.Proxy
			var through []string
			for _, node := range nodes {
				p := faultproxy.New(t, node.Addr, faultproxy.Redis)
				proxies, through = append(proxies, p), append(through, p.Addr())
			}
			lost := make(chan time.Time, 1) // when the holder heard of it, however late the test goes on
			holder := newLockerWith(t, through, distlock.TTL(ttl), distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				if e.Kind == distlock.Lost {
					lost <- time.Now()
				}
			}))
			others := newLockerWith(t, addrs(nodes), distlock.TTL(ttl))
			for i, cut := range []func(*faultproxy.Proxy){(*faultproxy.Proxy).Hang, (*faultproxy.Proxy).HoldReplies,
				func(p *faultproxy.Proxy) { p.Refuse(); p.Cut() }} {
				lease, err := holder.Lock(t.Context(), "a")
				require.NoError(t, err, i)
				for _, p := range proxies {
					cut(p)
				}
				<-lease.Context().Done()
				require.True(t, (<-lost).Before(lease.Until()), i)
				require.Equal(t, distlock.ErrLost, context.Cause(lease.Context()))
				late := time.Now()
				theirs, err := others.Lock(t.Context(), "a")
				require.NoError(t, err)
				require.Less(t, time.Since(late), 2*ttl, "one TTL after the last renewal that got through")
				require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
				for _, p := range proxies {
					p.Pass()
				}
				require.NoError(t, theirs.Context().Err())
				require.NoError(t, theirs.Unlock(t.Context()), "still theirs")
				require.True(t, eventually(3*time.Second, func() bool {
					lease, err := holder.TryLock(t.Context(), "b")
					return err == nil && lease.Unlock(t.Context()) == nil
				}), "works again")
			}
			requireNoKeys(t, "", 3*time.Second, addrs(nodes)...)
		})
	}
}
