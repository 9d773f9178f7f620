//go:build unix

package distlock_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
)

// A key that somebody has set without a TTL never ends by itself. A process that waits asks calmly, and the error says
// so. When it is deleted the lock is free.
func TestKeyWithoutTTL(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		for _, addr := range addrs {
			client := redis.NewClient(&redis.Options{Addr: addr})
			require.NoError(t, client.Set(t.Context(), unique(t)+"a", "somebody", 0).Err())
			client.Close()
		}
		var attempts atomic.Int32
		locks := intercepted(t, addrs, func(_ context.Context, cmd redis.Cmder) {
			if cmd.Name() == "set" {
				attempts.Add(1)
			}
		}, distlock.Prefix(unique(t)), patient)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := locks.Lock(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "held by somebody else, in a key without a TTL: it never ends by itself")
		require.LessOrEqual(t, int(attempts.Load()), 4*len(addrs), "it polls")

		time.AfterFunc(100*time.Millisecond, func() { expire(t, addrs, unique(t)+"a") })
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, lease.Unlock(t.Context()))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// A key of another type can't become a lock.
func TestKeyOfAnotherType(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		for _, addr := range addrs {
			client := redis.NewClient(&redis.Options{Addr: addr})
			require.NoError(t, client.LPush(t.Context(), unique(t)+"a", "x").Err())
			t.Cleanup(func() { client.Close() })
		}
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := locks.Lock(ctx, "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "WRONGTYPE")
		expire(t, addrs, unique(t)+"a")
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}
