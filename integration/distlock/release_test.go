//go:build unix

package distlock_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/servers"
)

// The answer to a release is lost. The lock is free then, so its holder is not told that it has lost it; and the process
// that was to be woken is.
func TestLostReleaseReply(t *testing.T) {
	t.Parallel()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			node := servers.StartRedis(t, 1)[0]
			proxy := faultproxy.New(t, node.Addr, faultproxy.Redis)
			holder := newKind(t, kind, []string{proxy.Addr()}, distlock.Prefix(unique(t)), patient)
			warm, err := holder.Lock(t.Context(), "a")
			require.NoError(t, err)
			require.NoError(t, warm.Unlock(t.Context()), "now the server knows the script")
			for range 5 {
				lease, err := holder.Lock(t.Context(), "a")
				require.NoError(t, err)
				fault := proxy.LoseReply(faultproxy.Contains(":queue"))
				err = lease.Unlock(t.Context())
				fault.Await(t)
				require.ErrorContains(t, err, "release not confirmed")
				require.NotErrorIs(t, err, distlock.ErrLost, "nobody else can have had it")
				require.Empty(t, keys(t, node.Addr, unique(t)), "it is released")
			}

			waiter, clock := newLocker(t, []string{node.Addr}, distlock.Prefix(unique(t))), newCalm(t, node.Addr)
			for range 5 {
				lease, err := holder.Lock(t.Context(), "a")
				require.NoError(t, err)
				got := make(chan time.Duration, 1)
				go func() {
					defer close(got)
					lease, err := waiter.Lock(t.Context(), "a")
					if err != nil {
						t.Error(err)
						return
					}
					got <- clock.Now()
					lease.Unlock(context.Background())
				}()
				require.True(t, eventually(5*time.Second, func() bool { return queued(t, []string{node.Addr}, "a") >= 1 }))
				released := clock.Now()
				fault := proxy.LoseReply(faultproxy.Contains(":queue"))
				err = lease.Unlock(t.Context())
				fault.Await(t)
				woken := <-got - released
				require.NoError(t, err, "the process to wake is known, so the release has been seen")
				require.Less(t, woken, 400*time.Millisecond, "the timer takes 700 ms: it was not woken")
				<-got
			}
			requireNoKeys(t, unique(t), 5*time.Second, node.Addr)
		})
	}
}

// A client gives up on the answer to a release and repeats it, and the server runs both.
func TestRepeatedRelease(t *testing.T) {
	t.Parallel()
	node := servers.StartRedis(t, 1)[0]
	client := redis.NewClient(&redis.Options{Addr: node.Addr, ContextTimeoutEnabled: true, ReadTimeout: 50 * time.Millisecond})
	t.Cleanup(func() { client.Close() })
	locks, err := distlock.New([]redis.UniversalClient{client}, distlock.Prefix(unique(t)), patient)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	// The server knows the scripts before, from a client that has time to load them.
	warm, err := newLocker(t, []string{node.Addr}, distlock.Prefix(unique(t))).Lock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, warm.Unlock(t.Context()))
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	node.Pause(t)
	go func() {
		time.Sleep(80 * time.Millisecond) // longer than the client's timeout
		node.Resume(t)
	}()
	if err := lease.Unlock(t.Context()); err != nil { // it depends on which of the two the server reads first
		require.ErrorContains(t, err, "release not confirmed")
		require.NotErrorIs(t, err, distlock.ErrLost)
	}
	requireNoKeys(t, unique(t), 5*time.Second, node.Addr)
}

// A lock that had gone before, and was not released by its holder, is lost.
func TestReleaseOfALostLock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.HandOver(0))
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		expire(t, addrs, unique(t)+"a")
		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
	})
}
