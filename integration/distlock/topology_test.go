//go:build unix

package distlock_test

import (
	"context"
	"fmt"
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

// hooked is a client that takes hooks.
type hooked interface {
	redis.UniversalClient
	AddHook(redis.Hook)
}

// sharded are the topologies in which the client chooses the server by the key. Each returns how to connect, and the
// addresses of the servers.
var sharded = map[string]func(t *testing.T) (connect func() hooked, addrs []string){
	"Ring": func(t *testing.T) (func() hooked, []string) {
		addrs := servers.Redis(t, 3)
		return func() hooked {
			shards := map[string]string{}
			for i, addr := range addrs {
				shards[fmt.Sprint(i)] = addr
			}
			return redis.NewRing(&redis.RingOptions{Addrs: shards})
		}, addrs
	},
	"Cluster": func(t *testing.T) (func() hooked, []string) {
		addrs := addrs(servers.StartRedisCluster(t, 3))
		return func() hooked { return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs}) }, addrs
	},
}

// On a Ring and on a Cluster each release wakes the process that has waited longest, at once and with one message.
func TestWakeUpsAreHeard(t *testing.T) {
	t.Parallel()
	const waiters, rounds = 3, 7
	for kind, start := range sharded {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connect, addrs := start(t)
			var published atomic.Int64
			newLocker := func() *distlock.Locker {
				client := connect()
				client.AddHook(interceptor(func(_ context.Context, cmd redis.Cmder) {
					if name := cmd.Name(); name == "publish" || name == "spublish" {
						published.Add(1)
					}
				}))
				locks, err := distlock.New([]redis.UniversalClient{client}, distlock.Prefix(unique(t)), patient)
				require.NoError(t, err)
				t.Cleanup(func() { locks.Close(); client.Close() })
				return locks
			}
			processes := make([]*distlock.Locker, 1+waiters)
			for i := range processes {
				processes[i] = newLocker()
				lease, err := processes[i].Lock(t.Context(), fmt.Sprint("first look ", i))
				require.NoError(t, err)
				require.NoError(t, lease.Unlock(t.Context()))
			}
			for round := range rounds {
				handOverInOrder(t, processes, addrs, fmt.Sprint("lock ", round), published.Load)
			}
			requireNoKeys(t, unique(t), 5*time.Second, addrs...)
		})
	}
}

// handOverInOrder has the first process hold a lock for which the others wait, and checks who gets it after whom and when.
// published counts messages, and each hand-over must be one; it may be nil.
func handOverInOrder(t *testing.T, processes []*distlock.Locker, addrs []string, name string, published func() int64) {
	t.Helper()
	const alone = 750 * time.Millisecond // after which a waiter tries by itself, and may overtake another
	lock := name
	for n := 1; ; n++ {
		var before, sent int64
		if published != nil {
			before = published()
		}
		order, took := handOver(t, processes, addrs, lock)
		wrong := ""
		if published != nil {
			sent = published() - before
		}
		switch {
		case !slices.IsSorted(order):
			wrong = fmt.Sprintf("somebody was overtaken: %v", order)
		case published != nil && sent != int64(len(order)):
			wrong = fmt.Sprintf("%d messages for %d hand-overs", sent, len(order))
		default:
			return
		}
		// On a busy machine a round may take so long that this is no fault: it is held again.
		require.Greater(t, took, alone, wrong)
		require.Less(t, n, 8, wrong)
		lock = fmt.Sprint(name, " again ", n)
	}
}

// handOver returns in which order the others got the lock that the first process held, and how long it took since they began
// to wait. Each of them must be woken.
func handOver(t *testing.T, processes []*distlock.Locker, addrs []string, name string) (order []int, took time.Duration) {
	t.Helper()
	clock := newCalm(t, addrs[0])
	lease, err := processes[0].Lock(t.Context(), name)
	require.NoError(t, err)
	type turn struct {
		process int
		at      time.Duration
	}
	turns := make(chan turn, len(processes))
	var waiting sync.WaitGroup
	began := time.Now()
	for i, locks := range processes[1:] {
		waiting.Go(func() {
			lease, err := locks.Lock(context.Background(), name)
			if err != nil {
				t.Error(err)
				return
			}
			turns <- turn{i + 1, clock.Now()}
			if err := lease.Unlock(context.Background()); err != nil {
				t.Error(err)
			}
		})
		require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, name) == int64(i+1) }))
	}
	last := clock.Now()
	require.NoError(t, lease.Unlock(t.Context()))
	for range processes[1:] {
		next := <-turns
		order = append(order, next.process)
		require.Less(t, next.at-last, 500*time.Millisecond, "the timer takes 750 ms: it was not woken")
		last = next.at
	}
	took = time.Since(began)
	waiting.Wait() // the last of them unlocks
	return order, took
}
