//go:build unix

package distlock_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// Two clients of one server are one vote. It does not matter whether the server could be asked when the Locker was made.
func TestServerTwice(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 2)
	nodes[1].Pause(t)
	locks := newLocker(t, []string{nodes[0].Addr, nodes[1].Addr, nodes[1].Addr})
	nodes[1].Resume(t)
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err, "two servers of three are independent")
	require.NoError(t, lease.Unlock(t.Context()))

	nodes[0].Kill(t)
	_, err = locks.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, distlock.ErrNotAcquired, "one server has two votes")
	require.ErrorContains(t, err, "leads to the same server as node")
	require.ErrorContains(t, err, "nodes must be independent")
}

// A replica has no vote: not even one that can be written, whose master has the same lock for another holder.
func TestReplicaAsANode(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 2)
	replica := servers.StartRedisReplica(t, nodes[0])
	admin := redis.NewClient(&redis.Options{Addr: replica.Addr})
	t.Cleanup(func() { admin.Close() })
	require.NoError(t, admin.ConfigSet(t.Context(), "replica-read-only", "no").Err())
	locks := newLocker(t, []string{nodes[0].Addr, nodes[1].Addr, replica.Addr})
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))

	nodes[1].Kill(t)
	_, err = locks.TryLock(t.Context(), "b")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.ErrorContains(t, err, "node 2 ("+replica.Addr+"): it is a replica of "+nodes[0].Addr)

	require.NoError(t, admin.ReplicaOf(t.Context(), "NO", "ONE").Err())
	require.True(t, eventually(5*time.Second, func() bool {
		lease, err := locks.TryLock(t.Context(), "c")
		return err == nil && lease.Unlock(t.Context()) == nil
	}), "it is a replica no more")
}

// What a proxy or a server can't or won't say is no objection.
func TestServerThatTellsNothing(t *testing.T) {
	t.Parallel()
	nodes := servers.Redis(t, 3)
	var clients []redis.UniversalClient
	for _, addr := range nodes {
		clients = append(clients, user(t, addr, "+@all -info ~* &*")())
	}
	locks := lockerOf(t, clients, distlock.Prefix(unique(t)))
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
}

// Each shard of a Ring is looked at, and no server may be in two Rings.
func TestRingsThatShareAServer(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 4)
	ring := func(shards ...*servers.Server) redis.UniversalClient {
		addrs := map[string]string{}
		for _, s := range shards {
			addrs[s.Addr] = s.Addr
		}
		r := redis.NewRing(&redis.RingOptions{Addrs: addrs})
		t.Cleanup(func() { r.Close() })
		return r
	}
	clients := []redis.UniversalClient{ring(nodes[0], nodes[1]), ring(nodes[1], nodes[2]), connect(t, nodes[3].Addr)[0]}
	locks := lockerOf(t, clients)
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
	nodes[3].Kill(t)
	_, err = locks.TryLock(t.Context(), "a")
	require.ErrorContains(t, err, "leads to the same server as node")
}

// A shard that was down when the others were looked at keeps no lock before it is looked at.
func TestLockOnAShardThatWasDown(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 2)
	ring := redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"a": nodes[0].Addr, "b": nodes[1].Addr}, HeartbeatFrequency: 20 * time.Millisecond,
	})
	t.Cleanup(func() { ring.Close() })
	var name string // whose shard is the one that will be down
	for i := 0; name == ""; i++ {
		shard, err := ring.GetShardClientForKey(fmt.Sprint("lock:", i))
		require.NoError(t, err)
		if shard.Options().Addr == nodes[1].Addr {
			name = fmt.Sprint(i)
		}
	}
	nodes[1].Kill(t)
	require.True(t, eventually(20*time.Second, func() bool { return ring.Len() == 1 }))
	locks := lockerOf(t, []redis.UniversalClient{ring})
	lease, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))

	nodes[1].Restart(t)
	admin := redis.NewClient(&redis.Options{Addr: nodes[1].Addr})
	t.Cleanup(func() { admin.Close() })
	require.NoError(t, admin.ConfigSet(t.Context(), "replica-read-only", "no").Err())
	host, port, err := net.SplitHostPort(nodes[0].Addr)
	require.NoError(t, err)
	require.NoError(t, admin.ReplicaOf(t.Context(), host, port).Err())
	require.True(t, eventually(20*time.Second, func() bool { return ring.Len() == 2 }))
	_, err = locks.TryLock(t.Context(), name)
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.ErrorContains(t, err, "it is a replica of")
}

// After a failover by Sentinel the lock service goes on with the new master.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	master := servers.StartRedis(t, 1)[0]
	servers.StartRedisReplica(t, master)
	sentinel := servers.StartRedisSentinel(t, master)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: servers.SentinelMaster, SentinelAddrs: []string{sentinel.Addr},
	})
	t.Cleanup(func() { client.Close() })
	locks := lockerOf(t, []redis.UniversalClient{client}, distlock.TTL(5*time.Minute)) // longer than a failover takes
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 1, client.Wait(t.Context(), 1, 10*time.Second).Val(), "the replica has the lock")
	master.Kill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	other, err := locks.Lock(ctx, "b")
	require.NoError(t, err)
	require.NoError(t, other.Unlock(t.Context()))
	require.NoError(t, lease.Unlock(t.Context()), "it came over with the replica")
}

// A shard of a Ring that was down at the first lock is looked at when it is up.
func TestShardThatWasDown(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 2)
	ring := redis.NewRing(&redis.RingOptions{
		Addrs:              map[string]string{"a": nodes[0].Addr, "b": nodes[1].Addr},
		HeartbeatFrequency: 10 * time.Millisecond,
	})
	t.Cleanup(func() { ring.Close() })
	locks, err := distlock.New([]redis.UniversalClient{ring}, patient)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	nodes[1].Kill(t)
	require.True(t, eventually(5*time.Second, func() bool { return ring.Len() == 1 }))
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))

	nodes[1].Restart(t)
	client := redis.NewClient(&redis.Options{Addr: nodes[1].Addr})
	t.Cleanup(func() { client.Close() })
	require.NoError(t, client.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	require.True(t, eventually(5*time.Second, func() bool { return ring.Len() == 2 }))
	require.True(t, eventually(10*time.Second, func() bool {
		lease, err = locks.TryLock(t.Context(), "a")
		if err == nil {
			return lease.Unlock(t.Context()) != nil
		}
		return strings.Contains(err.Error(), "it is a replica")
	}), "%v", err)
	require.ErrorContains(t, err, "it is a replica")
}
