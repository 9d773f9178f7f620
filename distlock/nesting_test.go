package distlock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
)

// newLocks returns a Locker on one fake server.
func newLocks(t *testing.T, opts ...distlock.Option) *distlock.Locker {
	t.Helper()
	client := newRedis("127.0.0.1:1")
	locks, err := distlock.New([]redis.UniversalClient{client}, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, locks.Close())
		client.Close()
	})
	return locks
}

// calls are the ways to lock a name.
var calls = map[string]func(ctx context.Context, locks *distlock.Locker, name string) error{
	"Lock": func(ctx context.Context, locks *distlock.Locker, name string) error {
		lease, err := locks.Lock(ctx, name)
		if err == nil {
			err = lease.Unlock(ctx)
		}
		return err
	},
	"TryLock": func(ctx context.Context, locks *distlock.Locker, name string) error {
		lease, err := locks.TryLock(ctx, name)
		if err == nil {
			err = lease.Unlock(ctx)
		}
		return err
	},
	"WithLock": func(ctx context.Context, locks *distlock.Locker, name string) error {
		return locks.WithLock(ctx, name, func(context.Context, *distlock.Lease) error { return nil })
	},
	"WithLocks": func(ctx context.Context, locks *distlock.Locker, name string) error {
		return locks.WithLocks(ctx, []string{"0 before it", name}, func(context.Context, []*distlock.Lease) error { return nil })
	},
}

// requireNested checks that every call for the name fails at once: the clock of the bubble stands still.
func requireNested(t *testing.T, ctx context.Context, locks *distlock.Locker, name string) {
	t.Helper()
	for kind, call := range calls {
		start := time.Now()
		err := call(ctx, locks, name)
		require.ErrorIs(t, err, distlock.ErrNotAcquired, kind)
		require.ErrorContains(t, err, "the context comes from a lease of this lock", kind)
		require.Zero(t, time.Since(start), kind)
	}
}

func requireLockable(t *testing.T, ctx context.Context, locks *distlock.Locker, name string) {
	t.Helper()
	for kind, call := range calls {
		require.NoError(t, call(ctx, locks, name), kind)
	}
}

func TestNestedLock(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		locks := newLocks(t, distlock.WaitLimit(time.Minute)) // for which each call waits without the check
		ctx := t.Context()

		lease, err := locks.Lock(ctx, "a")
		require.NoError(t, err)
		derived, stop := context.WithCancel(context.WithValue(lease.Context(), key{}, "value"))
		defer stop()
		requireNested(t, lease.Context(), locks, "a")
		requireNested(t, derived, locks, "a")
		requireNested(t, context.WithoutCancel(derived), locks, "a")
		requireLockable(t, lease.Context(), locks, "b")
		after := context.WithoutCancel(derived)
		require.NoError(t, lease.Unlock(ctx))
		requireLockable(t, after, locks, "a")

		lease, err = locks.TryLock(ctx, "a")
		require.NoError(t, err)
		requireNested(t, lease.Context(), locks, "a")
		require.NoError(t, lease.Unlock(ctx))

		err = locks.WithLock(ctx, "a", func(ctx context.Context, _ *distlock.Lease) error {
			requireNested(t, ctx, locks, "a")
			return locks.WithLocks(ctx, []string{"c", "b"}, func(ctx context.Context, leases []*distlock.Lease) error {
				for _, name := range []string{"a", "b", "c"} {
					requireNested(t, ctx, locks, name)
				}
				requireLockable(t, ctx, locks, "d")
				require.NoError(t, leases[0].Unlock(ctx))
				requireLockable(t, context.WithoutCancel(ctx), locks, "c")
				return nil
			})
		})
		require.ErrorIs(t, err, distlock.ErrLost, "c was unlocked twice")
		requireLockable(t, ctx, locks, "a")
	})
}

// WithLocks looks at all names before it acquires the first.
func TestNestedWithLocksAcquiresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var acquired []string
		locks := newLocks(t, distlock.OnEvent(func(_ context.Context, e distlock.Event) {
			if e.Kind == distlock.Acquired {
				acquired = append(acquired, e.Name)
			}
		}))
		err := locks.WithLock(t.Context(), "z", func(ctx context.Context, _ *distlock.Lease) error {
			return locks.WithLocks(ctx, []string{"z", "a"}, func(context.Context, []*distlock.Lease) error { return nil })
		})
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		require.Equal(t, []string{"z"}, acquired)
	})
}

// Another Locker is another process, as far as locks are concerned: its callers wait.
func TestNestedLockOfAnotherLocker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newLocks(t), newLocks(t)
		err := here.WithLock(t.Context(), "a", func(ctx context.Context, _ *distlock.Lease) error {
			requireLockable(t, ctx, there, "a") // it has servers of its own
			return nil
		})
		require.NoError(t, err)
	})
}

// The context of a lost lease has ended, and says so. A call that does not end with it would wait for the Unlock of the
// lost lease, so it fails as well; after that Unlock the name is free.
func TestNestedLockUnderALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newRedis("127.0.0.1:1")
		defer client.Close()
		locks, err := distlock.New([]redis.UniversalClient{client}, distlock.WaitLimit(time.Minute))
		require.NoError(t, err)
		defer locks.Close()
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, client.FlushAll(t.Context()).Err())
		<-lease.Context().Done()
		for kind, call := range calls {
			require.ErrorIs(t, call(lease.Context(), locks, "a"), context.Canceled, kind)
		}
		requireNested(t, context.WithoutCancel(lease.Context()), locks, "a")
		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		requireLockable(t, context.WithoutCancel(lease.Context()), locks, "a")
	})
}
