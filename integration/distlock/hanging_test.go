//go:build unix

package distlock_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

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
	return newLockerOf(t, addrs, kinds[kind], opts...)
}

// newLockerOf returns a Locker with a client for each address, which the test's end closes.
func newLockerOf(
	tb testing.TB, addrs []string, client func(*redis.Options) redis.UniversalClient, opts ...distlock.Option,
) *distlock.Locker {
	tb.Helper()
	var clients []redis.UniversalClient
	for _, addr := range addrs {
		c := client(&redis.Options{Addr: addr})
		tb.Cleanup(func() { c.Close() })
		clients = append(clients, c)
	}
	locks, err := distlock.New(clients, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { locks.Close() })
	return locks
}

// With one or two of five nodes stopped, locks cost at most NodeTimeout once and nothing afterwards, although the
// clients have go-redis's own timeouts. With three nothing is granted, and the error says why.
func TestStoppedNodes(t *testing.T) {
	t.Parallel()
	const nodeTimeout, ttl = time.Second, 8 * time.Second
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			nodes := servers.StartRedis(t, 5)
			locks := newKind(t, kind, addrs(nodes), distlock.NodeTimeout(nodeTimeout), distlock.TTL(ttl))
			clock := newCalm(t, nodes[4].Addr)
			turn := func(name string) (acquire, release time.Duration) {
				start := clock.Now()
				lease, err := locks.Lock(t.Context(), name)
				acquire = clock.Now() - start
				require.NoError(t, err)
				start = clock.Now()
				err = lease.Unlock(t.Context())
				release = clock.Now() - start
				require.NoError(t, err)
				return acquire, release
			}
			turn("warm")
			for stopped := 1; stopped <= 2; stopped++ {
				nodes[stopped-1].Pause(t)
				acquire, release := turn(fmt.Sprint("first ", stopped))
				require.Less(t, acquire, nodeTimeout+slack)
				require.Less(t, release, nodeTimeout+slack)
				start := clock.Now()
				for i := range 20 {
					turn(fmt.Sprint("next ", stopped, i))
				}
				require.Less(t, clock.Now()-start, 20*nodeTimeout/4, "a node that hangs is not waited for again")
			}
			nodes[2].Pause(t)
			stopped, start := time.Now(), clock.Now()
			_, err := locks.TryLock(t.Context(), "three")
			require.Less(t, clock.Now()-start, 2*nodeTimeout+slack)
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
				require.Regexp(t, "no answer within 1s|earlier commands are still unanswered", n.Error())
			}

			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start = clock.Now()
			_, err = locks.Lock(ctx, "three")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, clock.Now()-start, 50*time.Millisecond+slack)

			start = clock.Now()
			_, err = locks.Lock(t.Context(), "three")
			require.ErrorIs(t, err, distlock.ErrNotAcquired)
			require.GreaterOrEqual(t, time.Since(stopped), ttl, "it waits for a TTL")
			require.Less(t, clock.Now()-start, ttl+nodeTimeout+time.Second, "and gives up then")

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
	locks, err := distlock.New([]redis.UniversalClient{client}, patient)
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
	case <-time.After(30 * time.Second):
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
	clock := newCalm(t, addr)
	_, err = locks.TryLock(t.Context(), "a") // SET, and GET
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.Less(t, clock.Now(), nodeTimeout+slack)
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
			locks := newKind(t, kind, []string{node.Addr}, distlock.NodeTimeout(time.Second), distlock.TTL(time.Minute))
			lease, err := locks.Lock(t.Context(), "warm")
			require.NoError(t, err)
			require.NoError(t, lease.Unlock(t.Context()))

			node.Pause(t)
			for range 5 {
				_, err = locks.TryLock(t.Context(), "a")
				require.ErrorIs(t, err, distlock.ErrNotAcquired)
			}
			node.Resume(t)
			clock := newCalm(t, node.Addr)
			requireNoKeys(t, "a", 3*time.Second, node.Addr)
			lease, err = locks.Lock(t.Context(), "a")
			require.NoError(t, err)
			require.Less(t, clock.Now(), 3*time.Second, "not the TTL")
			require.NoError(t, lease.Unlock(t.Context()))
		})
	}
}
