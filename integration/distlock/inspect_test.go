//go:build unix

package distlock_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		holder := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.Label("host 7"))
		operator := newLocker(t, addrs, distlock.Prefix(unique(t)))
		info, err := operator.Inspect(t.Context(), "a")
		require.NoError(t, err)
		require.Zero(t, info, "it is free")

		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		for range 2 {
			waiter := newLocker(t, addrs, distlock.Prefix(unique(t)))
			go func() {
				waiter.Lock(ctx, "a")
				ended <- struct{}{}
			}()
		}
		require.True(t, eventually(5*time.Second, func() bool {
			info, err = operator.Inspect(t.Context(), "a")
			return err == nil && info.Waiting == 2
		}), "%v, %v", info, err)
		require.Equal(t, "host 7", info.Label)
		require.Greater(t, info.Left, 4*time.Second)
		require.LessOrEqual(t, info.Left, 8*time.Second)
		cancel()
		<-ended
		<-ended
		require.NoError(t, lease.Unlock(t.Context()))

		for _, value := range []string{"by hand", ""} {
			for _, addr := range addrs {
				client := redis.NewClient(&redis.Options{Addr: addr})
				require.NoError(t, client.Set(t.Context(), unique(t)+"a", value, 0).Err())
				client.Close()
			}
			info, err = operator.Inspect(t.Context(), "a")
			require.NoError(t, err)
			require.Negative(t, info.Left, "%q", value)
			require.NoError(t, operator.Break(t.Context(), "a"), "%q", value)
		}
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// Break ends the holder, and wakes who waits. The holder learns of it.
func TestBreak(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		holder := newLockerWith(t, addrs, distlock.Prefix(unique(t)), distlock.TTL(2*time.Second))
		operator := newLocker(t, addrs, distlock.Prefix(unique(t)))
		require.ErrorIs(t, operator.Break(t.Context(), "a"), distlock.ErrNotHeld)
		lease, err := holder.Lock(t.Context(), "a")
		require.NoError(t, err)
		waiter, got := newLocker(t, addrs, distlock.Prefix(unique(t))), make(chan *distlock.Lease, 1)
		go func() {
			next, err := waiter.Lock(context.Background(), "a")
			if err != nil {
				t.Error(err)
			}
			got <- next
		}()
		require.True(t, eventually(5*time.Second, func() bool { return queued(t, addrs, "a") == 1 }))
		clock := newCalm(t, addrs[0])
		require.NoError(t, operator.Break(t.Context(), "a"))
		next := <-got
		require.Less(t, clock.Now(), 500*time.Millisecond, "the timer takes 750 ms: it was not woken")
		<-lease.Context().Done()
		require.ErrorIs(t, context.Cause(lease.Context()), distlock.ErrLost)
		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		require.NoError(t, next.Unlock(t.Context()), "the next holder was not disturbed")
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// Break ends the holder that it has found, and never one that comes later.
func TestBreakNeverHitsALaterHolder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.HandOver(0))
		// The hook stops Break when it knows the holder, and lets another one come in.
		stopped, goOn := make(chan struct{}), make(chan struct{})
		operator := intercepted(t, addrs, func(_ context.Context, cmd redis.Cmder) {
			if cmd.Name() == "lrange" { // the last question to each node
				stopped <- struct{}{}
				<-goOn
			}
		}, distlock.Prefix(unique(t)), patient)
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		broken := make(chan error, 1)
		go func() { broken <- operator.Break(context.Background(), "a") }()
		for range addrs {
			<-stopped
		}
		require.NoError(t, lease.Unlock(t.Context()))
		later, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		for range addrs {
			goOn <- struct{}{}
		}
		require.ErrorIs(t, <-broken, distlock.ErrNotHeld)
		require.NoError(t, later.Unlock(t.Context()), "it was not that holder's to end")
	})
}

// What too few nodes say is not taken for the truth.
func TestInspectWithoutMajority(t *testing.T) {
	t.Parallel()
	nodes := servers.StartRedis(t, 3)
	locks := newLocker(t, addrs(nodes), long)
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	for _, addr := range addrs(nodes) {
		require.NotEmpty(t, keys(t, addr, "a"), "all of them have it")
	}
	nodes[0].Kill(t)
	info, err := locks.Inspect(t.Context(), "a")
	require.NoError(t, err, "two of three name the holder")
	require.NotZero(t, info)
	nodes[1].Kill(t)
	_, err = locks.Inspect(t.Context(), "a")
	require.ErrorContains(t, err, `inspect "a": too few nodes have answered`)
	require.ErrorContains(t, err, "node 0 (")
	err = locks.Break(t.Context(), "a")
	require.ErrorContains(t, err, `break "a": too few nodes have answered`)
	require.NotErrorIs(t, err, distlock.ErrNotHeld)
	require.Error(t, lease.Unlock(t.Context()))
}

// A goroutine that hangs does not keep the lock for ever.
func TestMaxHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		const hold = 300 * time.Millisecond
		hung := newLockerWith(t, addrs, distlock.Prefix(unique(t)), distlock.TTL(time.Second), distlock.MaxHold(hold))
		clock, start := newCalm(t, addrs[0]), time.Now()
		lease, err := hung.Lock(t.Context(), "a")
		require.NoError(t, err)
		<-lease.Context().Done()
		require.GreaterOrEqual(t, time.Since(start), hold)
		require.ErrorIs(t, context.Cause(lease.Context()), distlock.ErrLost)
		other, err := newLocker(t, addrs, distlock.Prefix(unique(t))).Lock(t.Context(), "a")
		require.NoError(t, err)
		require.Less(t, clock.Now(), 4*time.Second)
		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		require.NoError(t, other.Unlock(t.Context()))

		// One that keeps to the limit notices nothing.
		limited := newLocker(t, addrs, distlock.Prefix(unique(t)), distlock.MaxHold(time.Minute))
		short, err := limited.Lock(t.Context(), "b")
		require.NoError(t, err)
		require.NoError(t, short.Unlock(t.Context()))
	})
}
