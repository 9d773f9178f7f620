package quorum_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/quorum"
)

const (
	ttl     = 8 * time.Second
	timeout = 250 * time.Millisecond
)

// each runs a test on one node and on three.
func each(t *testing.T, test func(t *testing.T, ns *quorum.Nodes, servers []*server)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) {
			with(t, n, func(c redis.UniversalClient) redis.UniversalClient { return c }, test)
		})
	}
}

// leftBehind runs a test with three nodes that have to be left behind when they hang: the clients are no *redis.Client.
func leftBehind(t *testing.T, test func(t *testing.T, ns *quorum.Nodes, servers []*server)) {
	with(t, 3, func(c redis.UniversalClient) redis.UniversalClient { return struct{ redis.UniversalClient }{c} }, test)
}

// with runs a test with so many nodes, whose clients are in a wrapper.
func with(
	t *testing.T, n int, wrapper func(redis.UniversalClient) redis.UniversalClient,
	test func(t *testing.T, ns *quorum.Nodes, servers []*server),
) {
	synctest.Test(t, func(t *testing.T) {
		bg := background.New()
		servers := make([]*server, n)
		clients := make([]redis.UniversalClient, n)
		for i := range servers {
			servers[i] = newServer()
			clients[i] = wrapper(servers[i].client(t))
		}
		ns, err := quorum.New(clients, quorum.Config{TTL: ttl, Timeout: timeout, Process: "p"}, bg)
		require.NoError(t, err)
		test(t, ns, servers)
		bg.Close()
		require.True(t, bg.Wait(time.Minute), "something still runs")
	})
}

func ignore(context.Context, *quorum.Node, string, string) {}

func TestAcquisition(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		start := time.Now()
		a, until, failed := ns.Acquire(t.Context(), "a")
		require.Nil(t, failed)
		require.Equal(t, start.Add(ttl-ttl/100), until, "less the drift of clocks")

		_, _, failed = ns.Acquire(t.Context(), "a")
		require.True(t, failed.Held())
		require.False(t, failed.Agreed())
		for _, s := range servers {
			require.True(t, s.held("a"), "the failed attempt cleaned up more than its own")
		}

		time.Sleep(time.Second)
		until, failed = a.Extend(t.Context())
		require.Nil(t, failed)
		require.Equal(t, start.Add(time.Second+ttl-ttl/100), until)

		woke, failed := a.Release(t.Context(), ignore)
		require.Nil(t, failed)
		require.False(t, woke)
		for _, s := range servers {
			require.False(t, s.held("a"))
		}
		_, failed = a.Extend(t.Context())
		require.True(t, failed.Lost(), "an extension must not bring a released lock back")
		for _, s := range servers {
			require.False(t, s.held("a"))
		}
	})
}

// A release goes through although its caller's context has ended, and names those to wake when it is decided.
func TestReleaseWakes(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		a, _, failed := ns.Acquire(t.Context(), "a")
		require.Nil(t, failed)
		servers[0].queue = []string{"other", "third"}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		type wake struct {
			process  string
			node     int
			ctx      error
			majority bool
		}
		woken := make(chan wake, 1)
		woke, failed := a.Release(ctx, func(ctx context.Context, n *quorum.Node, key, process string) {
			released := 0
			for _, s := range servers {
				if !s.held(key) {
					released++
				}
			}
			woken <- wake{process, n.Index(), ctx.Err(), released > len(servers)/2}
		})
		require.Nil(t, failed)
		require.True(t, woke)
		require.Equal(t, wake{process: "other", majority: true}, <-woken)
	})
}

// What was granted without a majority is deleted again.
func TestSplitVoteLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		for _, s := range servers[len(servers)/2:] {
			s.keys["a"] = "somebody else's"
		}
		_, _, failed := ns.Acquire(t.Context(), "a")
		require.Equal(t, len(servers)/2+1, failed.Refused())
		for i, s := range servers {
			require.Equal(t, i >= len(servers)/2, s.held("a"), i)
		}
	})
}

// The answers of all nodes are lost, but they have set the key: it is deleted in the background.
func TestLostAnswersLeaveNothing(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		for _, s := range servers {
			s.lose = 2 // that to the deletion which follows, too
		}
		_, _, failed := ns.Acquire(t.Context(), "a")
		require.False(t, failed.Answered())
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, s := range servers {
			require.False(t, s.held("a"))
		}
	})
}

// An extension that finds another holder says that the lock is lost. One that nobody answers does not.
func TestExtendTellsLossFromSilence(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		a, _, failed := ns.Acquire(t.Context(), "a")
		require.Nil(t, failed)
		for _, s := range servers {
			s.lose = 1
		}
		_, failed = a.Extend(t.Context())
		require.NotNil(t, failed)
		require.False(t, failed.Lost())
		for _, s := range servers {
			s.keys["a"] = "somebody else's"
		}
		_, failed = a.Extend(t.Context())
		require.True(t, failed.Lost())
		_, failed = a.Release(t.Context(), ignore)
		require.True(t, failed.Lost())
		for _, s := range servers {
			require.True(t, s.held("a"), "it deleted the lock of somebody else")
		}
	})
}

// A node that hangs costs its time once, and nothing while the others decide.
func TestHangingNodeIsWaitedForOnce(t *testing.T) {
	leftBehind(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		resumed := make(chan struct{})
		servers[1].before = func(redis.Cmder) { <-resumed }

		for i, want := range []time.Duration{timeout, 0, 0} {
			start := time.Now()
			a, _, failed := ns.Acquire(t.Context(), "a")
			require.Nil(t, failed)
			_, failed = a.Release(t.Context(), ignore)
			require.Nil(t, failed)
			require.Equal(t, want, time.Since(start), i)
		}
		require.True(t, ns.All()[1].Late())
		close(resumed)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, servers[1].held("a"), "what the late node has set is deleted")
	})
}
