//go:build unix

package distlock_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// long is a TTL that no test waits for.
var long = distlock.TTL(time.Minute)

// passing are the conditions in which a server says that it has not run a command, and would run it later. Each returns
// how to end it.
var passing = map[string]func(t *testing.T, server *redis.Client) (end func()){
	"BUSY": func(t *testing.T, server *redis.Client) func() {
		require.NoError(t, server.ConfigSet(t.Context(), "lua-time-limit", "1").Err())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server.Eval(context.Background(), "while true do end", nil)
		}()
		return func() {
			require.NoError(t, server.ScriptKill(t.Context()).Err())
			<-ended
		}
	},
	"MISCONF": func(t *testing.T, server *redis.Client) func() {
		require.NoError(t, server.ConfigSet(t.Context(), "save", "3600 1").Err())
		dir := server.ConfigGet(t.Context(), "dir").Val()["dir"]
		require.NoError(t, os.Chmod(dir, 0o500))
		require.NoError(t, server.BgSave(t.Context()).Err())
		return func() {
			require.NoError(t, os.Chmod(dir, 0o700))
			require.NoError(t, server.ConfigSet(t.Context(), "save", "").Err())
		}
	},
	"NOREPLICAS": func(t *testing.T, server *redis.Client) func() {
		require.NoError(t, server.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
		return func() { require.NoError(t, server.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err()) }
	},
	"READONLY": func(t *testing.T, server *redis.Client) func() {
		require.NoError(t, server.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()) // nobody is there
		return func() { require.NoError(t, server.ReplicaOf(t.Context(), "NO", "ONE").Err()) }
	},
	"MASTERDOWN": func(t *testing.T, server *redis.Client) func() {
		require.NoError(t, server.ConfigSet(t.Context(), "replica-serve-stale-data", "no").Err())
		require.NoError(t, server.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
		return func() {
			require.NoError(t, server.ReplicaOf(t.Context(), "NO", "ONE").Err())
			require.NoError(t, server.ConfigSet(t.Context(), "replica-serve-stale-data", "yes").Err())
		}
	},
}

// A server that could not run the release is asked again in the background, and the lock does not stay for its TTL.
func TestUnlockInAPassingCondition(t *testing.T) {
	t.Parallel()
	nodes := addrs(servers.StartRedis(t, 3))
	server := redis.NewClient(&redis.Options{Addr: nodes[0], MaxRetries: -1, ReadTimeout: time.Minute})
	t.Cleanup(func() { server.Close() })
	for code, begin := range passing {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/nodes=%d", code, n), func(t *testing.T) {
				locks := newLockerWith(t, nodes[:n], distlock.Prefix(unique(t)), long, patient)
				lease := lockEverywhere(t, locks, "a", nodes[:n])
				end := sync.OnceFunc(begin(t, server))
				defer end()
				var probe error
				require.True(t, eventually(5*time.Second, func() bool {
					probe = server.Eval(t.Context(), "return redis.call('DEL', KEYS[1])", []string{unique(t) + "probe"}).Err()
					return redis.HasErrorPrefix(probe, code)
				}), "%v", probe)
				err := lease.Unlock(t.Context())
				end()
				if n == 1 {
					require.ErrorContains(t, err, "release not confirmed")
					require.NotErrorIs(t, err, distlock.ErrLost)
				} else {
					require.NoError(t, err, "two of three have confirmed it")
				}
				requireNoKeys(t, unique(t), 10*time.Second, nodes[:n]...)
			})
		}
	}
}

// lockEverywhere locks until all nodes have the lock: a majority is enough for Lock.
func lockEverywhere(t *testing.T, locks *distlock.Locker, name string, addrs []string) *distlock.Lease {
	t.Helper()
	for range 10 {
		lease, err := locks.Lock(t.Context(), name)
		require.NoError(t, err)
		if eventually(time.Second, func() bool {
			return !slices.ContainsFunc(addrs, func(addr string) bool { return len(keys(t, addr, unique(t)+name)) == 0 })
		}) {
			return lease
		}
		require.NoError(t, lease.Unlock(t.Context()))
	}
	require.Fail(t, "never on all nodes")
	return nil
}

// cluster is a Redis Cluster of three nodes with a Locker, in whose slots a test may interfere.
type cluster struct {
	client *redis.ClusterClient
	addrs  []string
	prefix string
	locks  *distlock.Locker
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{addrs: addrs(servers.StartRedisCluster(t, 3)), prefix: unique(t)}
	c.client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.addrs})
	t.Cleanup(func() { c.client.Close() })
	c.locks = c.newLocker(t)
	return c
}

func (c *cluster) newLocker(t *testing.T) *distlock.Locker {
	t.Helper()
	locks, err := distlock.New([]redis.UniversalClient{c.client}, distlock.Prefix(c.prefix), long, patient)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	return locks
}

// owner returns a client of the node that has the slot of a lock, and of another one.
func (c *cluster) owner(t *testing.T, name string) (owner, other *redis.Client, slot int) {
	t.Helper()
	owner, err := c.client.MasterForKey(t.Context(), c.prefix+name)
	require.NoError(t, err)
	for i := 0; other == nil || other == owner; i++ {
		other, err = c.client.MasterForKey(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
	}
	return owner, other, int(owner.ClusterKeySlot(t.Context(), c.prefix+name).Val())
}

// A cluster that is not whole serves nobody for a while.
func TestUnlockInAClusterThatIsDown(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	lease, err := c.locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	owner, _, slot := c.owner(t, "a")
	first := 0 // of the owner's slots
	//lint:ignore SA1019 Redis 6 has no CLUSTER SHARDS
	for _, shard := range owner.ClusterSlots(t.Context()).Val() {
		if shard.Start <= slot && slot <= shard.End {
			first = shard.Start
		}
	}
	require.NotEqual(t, slot, first)
	require.NoError(t, owner.ClusterDelSlots(t.Context(), first).Err())
	require.True(t, eventually(10*time.Second, func() bool {
		return redis.HasErrorPrefix(owner.Get(t.Context(), c.prefix+"a").Err(), "CLUSTERDOWN")
	}))
	err = lease.Unlock(t.Context())
	require.NoError(t, owner.ClusterAddSlots(t.Context(), first).Err())
	require.ErrorContains(t, err, "release not confirmed")
	require.NotErrorIs(t, err, distlock.ErrLost)
	requireNoKeys(t, c.prefix, 15*time.Second, c.addrs...)
}

// A cluster that moves a slot runs no script with several keys there unless all of them are there. A lock is released
// all the same, and the process that waits is woken, wherever its keys are at that moment.
func TestUnlockInASlotThatMoves(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, moved := range []bool{false, true} {
		name := fmt.Sprintf("moved=%v", moved)
		t.Run(name, func(t *testing.T) {
			lease, err := c.locks.Lock(t.Context(), name)
			require.NoError(t, err)
			var waiting sync.WaitGroup
			t.Cleanup(waiting.Wait) // after its Locker is closed
			waiter, got, clock := c.newLocker(t), make(chan time.Duration, 1), newCalm(t, c.addrs[0])
			waiting.Go(func() {
				lease, err := waiter.Lock(context.Background(), name)
				if err != nil {
					t.Error(err)
					return
				}
				got <- clock.Now()
				if err := lease.Unlock(context.Background()); err != nil {
					t.Error(err)
				}
			})
			source, target, slot := c.owner(t, name)
			queue := func() []string {
				return slices.DeleteFunc(keys(t, source.Options().Addr, c.prefix+name), func(key string) bool {
					return key == c.prefix+name
				})
			}
			require.True(t, eventually(5*time.Second, func() bool { return len(queue()) == 1 }))

			id := func(node *redis.Client) string { return node.Do(t.Context(), "CLUSTER", "MYID").Val().(string) }
			require.NoError(t, target.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "IMPORTING", id(source)).Err())
			require.NoError(t, source.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "MIGRATING", id(target)).Err())
			if moved {
				host, port, _ := net.SplitHostPort(target.Options().Addr)
				for _, key := range append(queue(), c.prefix+name) {
					require.NoError(t, source.Migrate(t.Context(), host, port, key, 0, time.Second).Err())
				}
			}
			start := clock.Now()
			require.NoError(t, lease.Unlock(t.Context()))
			require.Less(t, <-got-start, 600*time.Millisecond, "the timer takes 750 ms: it was not woken")
			requireNoKeys(t, c.prefix+name, 5*time.Second, c.addrs...)
			for _, node := range []*redis.Client{source, target} {
				require.NoError(t, node.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "STABLE").Err())
			}
		})
	}
}
