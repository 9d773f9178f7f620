//go:build unix

package distlock_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// extensions is a go-redis hook that counts how often leases are extended, and with how many commands at a time.
type extensions struct {
	mu        sync.Mutex
	underWay  int
	most      int // under way at once
	exchanges int // commands and pipelines
}

// isExtension reports whether a command extends leases.
func isExtension(cmd redis.Cmder) bool {
	args, name := cmd.Args(), cmd.Name()
	if name != "evalsha" && name != "eval" {
		return false
	}
	locks, _ := args[2].(int)
	return locks > 0 && len(args) == 4+2*locks // the TTL, and a value for each
}

// lockAll acquires so many locks, whose names are numbers from 0.
func lockAll(t *testing.T, locks *distlock.Locker, n int) []*distlock.Lease {
	t.Helper()
	leases := make([]*distlock.Lease, n)
	for i := range leases {
		var err error
		leases[i], err = locks.Lock(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
	}
	return leases
}

func (e *extensions) begin(cmds ...redis.Cmder) func() {
	if !isExtension(cmds[0]) {
		return func() {}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exchanges++
	e.underWay++
	e.most = max(e.most, e.underWay)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.underWay--
	}
}

func (*extensions) DialHook(next redis.DialHook) redis.DialHook { return next }

func (e *extensions) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		defer e.begin(cmd)()
		return next(ctx, cmd)
	}
}

func (e *extensions) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		defer e.begin(cmds...)()
		return next(ctx, cmds)
	}
}

// A process that holds many leases extends them with few commands at a time, which it shares among them. It loses none,
// and free names can be locked meanwhile.
func TestManyIdleLeases(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		const (
			leases = 2000
			ttl    = 8 * time.Second // the default, with which the race detector's own work leaves time on two processors
		)
		var clients []redis.UniversalClient
		meters := make([]*extensions, len(addrs))
		for i, addr := range addrs {
			client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
			t.Cleanup(func() { client.Close() })
			meters[i] = new(extensions)
			client.AddHook(meters[i])
			clients = append(clients, client)
		}
		var renewed, lost atomic.Int32
		locks, err := distlock.New(clients, distlock.Prefix(unique(t)), distlock.TTL(ttl), distlock.NodeTimeout(ttl/4),
			distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				switch {
				case e.Kind == distlock.Extended && e.Err == nil:
					renewed.Add(1)
				case e.Kind == distlock.Lost:
					lost.Add(1)
				}
			}))
		require.NoError(t, err)
		t.Cleanup(func() { locks.Close() })

		held := make([]*distlock.Lease, leases)
		var wg sync.WaitGroup
		for part := range 16 {
			wg.Go(func() {
				for i := part; i < leases; i += 16 {
					lease, err := locks.Lock(t.Context(), fmt.Sprint(i))
					if err != nil {
						t.Error(err)
						return
					}
					held[i] = lease
				}
			})
		}
		wg.Wait()
		require.False(t, t.Failed())
		for i := 0; renewed.Load() < 3*leases && lost.Load() == 0; i++ {
			lease, err := locks.TryLock(t.Context(), fmt.Sprint("free", i))
			require.NoError(t, err)
			require.NoError(t, lease.Unlock(t.Context()))
			time.Sleep(time.Millisecond)
		}
		require.Zero(t, lost.Load())
		for i, m := range meters {
			m.mu.Lock()
			require.Positive(t, m.exchanges)
			require.LessOrEqual(t, m.most, 4, "at a time, on node %d", i)
			require.Less(t, m.exchanges, int(renewed.Load())/4, "the extensions share commands, on node %d", i)
			m.mu.Unlock()
		}
		for _, lease := range held {
			require.NoError(t, lease.Context().Err())
		}
		for part := range 16 {
			wg.Go(func() {
				for i := part; i < leases; i += 16 {
					if err := held[i].Unlock(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// Leases that are extended together each have their own result: one whose key is gone, has another value or is of another type is
// lost, and costs the others nothing.
func TestLeasesThatAreExtendedTogether(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 5} {
		t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) {
			t.Parallel()
			extendTogether(t, connect(t, servers.Redis(t, n)...))
		})
	}
	for kind, start := range sharded {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connect, _ := start(t)
			client := connect()
			t.Cleanup(func() { client.Close() })
			extendTogether(t, []redis.UniversalClient{client})
		})
	}
}

func extendTogether(t *testing.T, clients []redis.UniversalClient) {
	const ttl = 8 * time.Second
	locks, err := distlock.New(clients, distlock.Prefix(unique(t)), distlock.TTL(ttl), patient)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	held := lockAll(t, locks, 100)
	gone, another, list := 10, 20, 30
	for _, client := range clients {
		key := func(i int) string { return unique(t) + fmt.Sprint(i) }
		require.NoError(t, client.Del(t.Context(), key(gone)).Err())
		require.NoError(t, client.Set(t.Context(), key(another), "somebody else", time.Minute).Err())
		require.NoError(t, client.Del(t.Context(), key(list)).Err())
		require.NoError(t, client.RPush(t.Context(), key(list), "no string").Err())
	}
	changed := time.Now()
	for i, lease := range held {
		switch i {
		case gone, another, list:
			select {
			case <-lease.Context().Done():
				require.ErrorIs(t, context.Cause(lease.Context()), distlock.ErrLost)
			case <-time.After(30 * time.Second):
				require.Fail(t, "it is extended", i)
			}
		default:
			require.True(t, eventually(30*time.Second, func() bool { return lease.Until().After(changed.Add(ttl)) }), i)
			require.NoError(t, lease.Unlock(t.Context()), i)
		}
	}
}

// A server refuses all writes for a while: the leases are extended when it takes them again. The client reads each answer to its end,
// and so keeps its connection, which the application may share.
func TestExtensionsThatAreRefused(t *testing.T) {
	t.Parallel()
	const ttl = 20 * time.Second // a machine that stops for long loses no lease
	node := servers.StartRedis(t, 1)[0]
	var dials, refused, lost atomic.Int32
	client := redis.NewClient(&redis.Options{Addr: node.Addr, PoolSize: 1, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	t.Cleanup(func() { client.Close() })
	locks, err := distlock.New([]redis.UniversalClient{client}, distlock.TTL(ttl), patient,
		distlock.OnEvent(func(_ context.Context, e distlock.Event) {
			switch {
			case e.Kind == distlock.Lost:
				lost.Add(1)
			case e.Kind == distlock.Extended && e.Err != nil:
				refused.Add(1)
			}
		}))
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	held := lockAll(t, locks, 50)
	before := dials.Load()
	admin := connect(t, node.Addr)[0]
	require.NoError(t, admin.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	require.True(t, eventually(time.Minute, func() bool { return int(refused.Load()) >= 2*len(held) }))
	require.NoError(t, admin.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
	changed := time.Now()
	for i, lease := range held {
		require.True(t, eventually(time.Minute, func() bool { return lease.Until().After(changed.Add(ttl - time.Second)) }), i)
	}
	require.Zero(t, lost.Load())
	require.Less(t, dials.Load(), before+10, "a machine that stops for long costs a connection, too")
}

// The server forgets its scripts while many leases are held.
func TestManyLeasesAndScriptsFlushed(t *testing.T) {
	t.Parallel()
	node := servers.StartRedis(t, 1)[0]
	var renewed, failed atomic.Int32
	locks := newLockerWith(t, []string{node.Addr}, distlock.TTL(8*time.Second), patient, distlock.OnEvent(func(_ context.Context, e distlock.Event) {
		if e.Kind == distlock.Extended && e.Err == nil {
			renewed.Add(1)
		} else if e.Kind == distlock.Extended || e.Kind == distlock.Lost {
			failed.Add(1)
		}
	}))
	const leases = 100
	lockAll(t, locks, leases)
	client := redis.NewClient(&redis.Options{Addr: node.Addr})
	defer client.Close()
	for range 3 {
		before := renewed.Load()
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		require.True(t, eventually(30*time.Second, func() bool { return renewed.Load() > before+leases }))
	}
	require.Zero(t, failed.Load())
}

// The application has all connections of the client in use. The error says so: the node is not to blame.
func TestConnectionsInUse(t *testing.T) {
	t.Parallel()
	addr := servers.Redis(t, 1)[0]
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 3})
	t.Cleanup(func() { client.Close() })
	var mu sync.Mutex
	var failures []error
	locks, err := distlock.New([]redis.UniversalClient{client}, distlock.Prefix(unique(t)), distlock.TTL(8*time.Second),
		patient, distlock.OnEvent(func(_ context.Context, e distlock.Event) {
			if e.Kind == distlock.Extended && e.Err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, e.Err)
			}
		}))
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	lockAll(t, locks, 50)

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { client.BLPop(context.Background(), time.Minute, unique(t)+"end") })
	}
	require.True(t, eventually(5*time.Second, func() bool {
		s := client.PoolStats()
		return s.TotalConns == 3 && s.IdleConns == 0
	}))
	_, err = locks.TryLock(t.Context(), "free")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.ErrorContains(t, err, "all 3 connections of the client are in use, and the locks have no more than")
	blamed := eventually(10*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(failures, func(err error) bool {
			return strings.Contains(err.Error(), "connections of the client are in use")
		})
	})
	require.NoError(t, connect(t, addr)[0].RPush(t.Context(), unique(t)+"end", 1, 2, 3).Err())
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	require.True(t, blamed, errors.Join(failures...))
}

// One shard of a Ring hangs. The leases on the other are extended as before.
func TestHangingShard(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 2)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": nodes[0].Addr, "b": nodes[1].Addr}})
	t.Cleanup(func() { ring.Close() })
	locks, err := distlock.New([]redis.UniversalClient{ring}, distlock.TTL(8*time.Second), patient)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	var healthy, hanging []*distlock.Lease
	for i := range 300 {
		name := fmt.Sprint(i)
		lease, err := locks.Lock(t.Context(), name)
		require.NoError(t, err)
		shard, err := ring.GetShardClientForKey("lock:" + name)
		require.NoError(t, err)
		if shard.Options().Addr == nodes[0].Addr {
			hanging = append(hanging, lease)
		} else {
			healthy = append(healthy, lease)
		}
	}
	nodes[0].Pause(t)
	for _, lease := range hanging {
		select {
		case <-lease.Context().Done():
		case <-time.After(20 * time.Second):
			require.Fail(t, "it is not extended, and not lost")
		}
	}
	for _, lease := range healthy {
		require.NoError(t, lease.Context().Err())
		require.Greater(t, time.Until(lease.Until()), time.Second)
	}
	nodes[0].Resume(t)
}
