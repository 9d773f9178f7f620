//go:build unix

package distlock_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// The servers are down. That is so for all callers who wait, whatever they wait for: they fail at once, when it has
// lasted for a TTL, and not one after the other.
func TestAllWaitersFailTogether(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	nodes := servers.StartRedis(t, 3)
	locks := newLockerWith(t, addrs(nodes), distlock.TTL(ttl), distlock.NodeTimeout(ttl/4))
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
	for _, n := range nodes[:2] {
		n.Kill(t)
	}
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	clock, start := newCalm(t, nodes[2].Addr), time.Now()
	var least time.Duration // by the other clock, which does not stand still
	for i := range 16 {
		wg.Go(func() {
			_, err := locks.Lock(t.Context(), string(rune('a'+i%2)))
			mu.Lock()
			defer mu.Unlock()
			if took = append(took, clock.Now()); len(took) == 1 {
				least = time.Since(start)
			}
			if !strings.Contains(err.Error(), "too few nodes have been in order for a whole TTL") ||
				!strings.Contains(err.Error(), "connection refused") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Less(t, took[15]-took[0], 400*time.Millisecond, "%v", took)
	require.GreaterOrEqual(t, least, ttl)
	require.Less(t, took[15], 2*ttl)

	// Whoever comes now is told by the first attempt.
	began := clock.Now()
	_, err = locks.Lock(t.Context(), "a")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.Less(t, clock.Now()-began, ttl)

	for _, n := range nodes[:2] {
		n.Restart(t)
	}
	require.True(t, eventually(5*time.Second, func() bool {
		lease, err := locks.TryLock(t.Context(), "a")
		return err == nil && lease.Unlock(t.Context()) == nil
	}), "works again")
	// The next outage counts from its own beginning.
	for _, n := range nodes[:2] {
		n.Kill(t)
	}
	start = time.Now()
	_, err = locks.Lock(t.Context(), "a")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.GreaterOrEqual(t, time.Since(start), ttl)
}

// The error says what is wrong with a server, and not only that it did not answer in time. A fault that no waiting cures
// ends the wait.
func TestCauses(t *testing.T) {
	t.Parallel()
	config := func(setting, value string) func(*testing.T, *servers.Server, *redis.Client) {
		return func(t *testing.T, _ *servers.Server, c *redis.Client) {
			require.NoError(t, c.ConfigSet(t.Context(), setting, value).Err())
		}
	}
	do := func(args ...any) func(*testing.T, *servers.Server, *redis.Client) {
		return func(t *testing.T, _ *servers.Server, c *redis.Client) {
			require.NoError(t, c.Do(t.Context(), args...).Err())
		}
	}
	tests := map[string]struct {
		spoil    func(*testing.T, *servers.Server, *redis.Client)
		password string
		want     string
		hopeless bool
		later    bool
	}{
		"refused":    {spoil: func(t *testing.T, s *servers.Server, _ *redis.Client) { s.Kill(t) }, want: "connection refused"},
		"NOAUTH":     {spoil: config("requirepass", "secret"), want: "NOAUTH", hopeless: true},
		"WRONGPASS":  {spoil: config("requirepass", "secret"), password: "other", want: "WRONGPASS", hopeless: true},
		"NOPERM":     {spoil: do("ACL", "SETUSER", "default", "-set"), want: "NOPERM", hopeless: true, later: true},
		"OOM":        {spoil: config("maxmemory", "1"), want: "OOM", later: true},
		"READONLY":   {spoil: do("REPLICAOF", "127.0.0.1", "1"), want: "READONLY", later: true},
		"NOREPLICAS": {spoil: config("min-replicas-to-write", "1"), want: "NOREPLICAS", later: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := servers.StartRedis(t, 1)[0]
			c := redis.NewClient(&redis.Options{Addr: node.Addr})
			t.Cleanup(func() { c.Close() })
			client := redis.NewClient(&redis.Options{Addr: node.Addr, Password: tt.password})
			t.Cleanup(func() { client.Close() })
			locks, err := distlock.New([]redis.UniversalClient{client}, patient)
			require.NoError(t, err)
			t.Cleanup(func() { locks.Close() })
			if tt.later { // after the first lock's look at the server
				lease, err := locks.Lock(t.Context(), "warm")
				require.NoError(t, err)
				require.NoError(t, lease.Unlock(t.Context()))
			}
			tt.spoil(t, node, c)

			_, err = locks.TryLock(t.Context(), "a")
			require.ErrorIs(t, err, distlock.ErrNotAcquired)
			require.ErrorContains(t, err, tt.want)

			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err = locks.Lock(ctx, "a")
			require.ErrorIs(t, err, distlock.ErrNotAcquired)
			require.ErrorContains(t, err, tt.want)
			if tt.hopeless {
				require.NotErrorIs(t, err, context.DeadlineExceeded, "it waited")
				require.ErrorContains(t, err, "no waiting removes the reason")
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
}
