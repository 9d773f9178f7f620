//go:build unix

package distlock_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/servers"
)

// A lease is lost while its holder hangs. Other goroutines of the process get the lock, as other processes do, and the
// holder's late Unlock does them no harm.
func TestLostLeaseFreesTheTurn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
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
		case <-time.After(30 * time.Second):
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
	nodes := servers.StartRedis(t, 5)
	lost := make(chan distlock.Event, 2) // it is told a moment after the context of the lease has ended
	const ttl = 6 * time.Second
	locks := newLockerWith(t, addrs(nodes), distlock.TTL(ttl), distlock.NodeTimeout(ttl/4), distlock.OnEvent(func(_ context.Context, e distlock.Event) {
		if e.Kind == distlock.Lost {
			lost <- e
		}
	}))
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	for _, n := range nodes[:2] {
		n.Kill(t)
		n.Restart(t)
	}
	until := lease.Until()
	require.True(t, eventually(5*ttl, func() bool { return lease.Until().After(until.Add(ttl)) }), "it is still extended")
	require.NoError(t, lease.Context().Err())

	nodes[2].Kill(t)
	nodes[2].Restart(t)
	select {
	case <-lease.Context().Done():
	case <-time.After(5 * ttl):
		require.Fail(t, "the holder was not told")
	}
	require.True(t, time.Now().Before(lease.Until()), "before its time is over")
	require.Equal(t, distlock.ErrLost, context.Cause(lease.Context()))
	require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
	require.ErrorIs(t, (<-lost).Err, distlock.ErrLost)
	lease, err = locks.TryLock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
	requireNoKeys(t, "", 5*time.Second, addrs(nodes)...)
	require.Empty(t, lost, "it is told once")
}

// The holder is cut off from all nodes: its context is cancelled before its time is over, and once it is, others get
// the lock. It can do no harm when the connection is back.
func TestPartitionedHolder(t *testing.T) {
	t.Parallel()
	const ttl = 8 * time.Second
	const early = ttl / 100 // in which the holder must hear of the loss
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
			holder := newLockerWith(t, through, distlock.TTL(ttl), distlock.NodeTimeout(ttl/4), distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				if e.Kind == distlock.Lost {
					lost <- time.Now()
				}
			}))
			others := newLockerWith(t, addrs(nodes), distlock.TTL(ttl), distlock.NodeTimeout(ttl/4))
			clock, pauses := newCalm(t, nodes[0].Addr), watchPauses(t)
			// cutOff reports whether the holder heard of the loss before its time was over. It must, unless the process stood
			// still just then.
			cutOff := func(i int, cut func(*faultproxy.Proxy)) (inTime bool) {
				lease, err := holder.Lock(t.Context(), "a")
				require.NoError(t, err, i)
				for _, p := range proxies {
					cut(p)
				}
				<-lease.Context().Done()
				heard := <-lost
				inTime = heard.Before(lease.Until())
				paused := pauses.since(lease.Until().Add(-early))
				require.True(t, inTime || paused > early/2, "%d: %v late, and no pause was over %v", i, heard.Sub(lease.Until()), paused)
				require.Equal(t, distlock.ErrLost, context.Cause(lease.Context()))
				late := clock.Now()
				theirs, err := others.Lock(t.Context(), "a")
				require.NoError(t, err)
				require.Less(t, clock.Now()-late, 2*ttl, "one TTL after the last renewal that got through")
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
				return inTime
			}
			for i, cut := range []func(*faultproxy.Proxy){(*faultproxy.Proxy).Hang, (*faultproxy.Proxy).HoldReplies,
				func(p *faultproxy.Proxy) { p.Refuse(); p.Cut() }} {
				for n := 1; !cutOff(i, cut); n++ {
					require.Less(t, n, 8, "the process stood still each time")
				}
			}
			requireNoKeys(t, "", 3*time.Second, addrs(nodes)...)
		})
	}
}
