package distlock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
)

// The client of one node asks a Cluster for its slots, and gets no answer, whatever its context says. The leases are
// extended on the other nodes, and their holders hear of a loss.
func TestClusterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resumed := make(chan struct{})
		cluster := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{"127.0.0.1:3"}, ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
				<-resumed
				return nil, errors.New("too late")
			},
		})
		cluster.AddHook(&fakeRedis{id: "c", keys: make(map[string]string)})
		a, b := newRedis("127.0.0.1:1"), newRedis("127.0.0.1:2")
		const ttl = 4 * time.Second
		locks, err := distlock.New([]redis.UniversalClient{a, b, cluster}, distlock.TTL(ttl))
		require.NoError(t, err)
		var leases []*distlock.Lease
		for _, name := range []string{"1", "2", "3"} {
			lease, err := locks.Lock(t.Context(), name)
			require.NoError(t, err)
			leases = append(leases, lease)
		}

		time.Sleep(10 * ttl)
		for _, lease := range leases {
			require.NoError(t, lease.Context().Err())
			require.Greater(t, time.Until(lease.Until()), ttl/2)
		}
		require.NoError(t, a.FlushAll(t.Context()).Err())
		require.NoError(t, b.FlushAll(t.Context()).Err())
		time.Sleep(ttl)
		for _, lease := range leases {
			require.Equal(t, distlock.ErrLost, context.Cause(lease.Context()))
			require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		}
		close(resumed)
		require.NoError(t, locks.Close())
		for _, c := range []redis.UniversalClient{a, b, cluster} {
			c.Close()
		}
	})
}
