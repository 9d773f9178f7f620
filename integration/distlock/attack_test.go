//go:build unix

package distlock_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/servers"
)

// The bugs that home-made locks have, each provoked.

// expire makes a lock's key vanish from all nodes, as if its TTL had passed under the holder.
func expire(tb testing.TB, addrs []string, key string) {
	tb.Helper()
	for _, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr})
		require.NoError(tb, client.Del(context.Background(), key).Err())
		require.NoError(tb, client.Close())
	}
}

// Bug: DEL without a look at the value deletes the lock of whoever has it now.
func TestAttackUnlockOfAnothersLock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		first, second := newLocker(t, addrs, distlock.Prefix(unique(t))), newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := first.Lock(t.Context(), "a")
		require.NoError(t, err)
		expire(t, addrs, unique(t)+"a")
		theirs, err := second.TryLock(t.Context(), "a")
		require.NoError(t, err)

		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		_, err = first.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		require.NoError(t, theirs.Unlock(t.Context()))
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// Bug: an extension that sets the key takes back a lock that has expired, from whoever has it now or from the future.
func TestAttackExtensionOfAnExpiredLock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		for _, taken := range []bool{false, true} {
			first := newLockerWith(t, addrs, distlock.Prefix(unique(t)), distlock.TTL(3*time.Second),
				distlock.NodeTimeout(750*time.Millisecond))
			second := newLocker(t, addrs, distlock.Prefix(unique(t)))
			lease, err := first.Lock(t.Context(), "a")
			require.NoError(t, err)
			expire(t, addrs, unique(t)+"a")
			var theirs *distlock.Lease
			if taken {
				theirs, err = second.TryLock(t.Context(), "a")
				require.NoError(t, err)
			}
			<-lease.Context().Done()
			require.True(t, time.Now().Before(lease.Until()))
			require.Equal(t, distlock.ErrLost, context.Cause(lease.Context()))
			if taken {
				require.NoError(t, theirs.Unlock(t.Context()))
			}
			requireNoKeys(t, unique(t), 5*time.Second, addrs...)
			require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		}
	})
}

// Bug: a callback that hears of the loss under the lock's own mutex, and asks the lock.
func TestAttackEventThatUsesTheLease(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		var lease *distlock.Lease
		heard := make(chan error, 1)
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)),
			distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				if e.Kind == distlock.Lost {
					lease.Until()
					heard <- lease.Unlock(context.Background())
				}
			}))
		var err error
		lease, err = locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		expire(t, addrs, unique(t)+"a")
		select {
		case err := <-heard:
			require.ErrorIs(t, err, distlock.ErrLost)
		case <-time.After(30 * time.Second):
			require.Fail(t, "deadlock")
		}
		lease, err = locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, lease.Unlock(t.Context()))
	})
}

// Bug: a second Unlock unlocks for somebody else.
func TestAttackUnlockTwice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, lease.Unlock(t.Context()))
		next, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		_, err = locks.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, distlock.ErrNotAcquired)
		require.NoError(t, next.Context().Err())
		require.NoError(t, next.Unlock(t.Context()))

		lease, err = locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		var wg sync.WaitGroup
		ok := make(chan error, 10)
		for range cap(ok) {
			wg.Go(func() { ok <- lease.Unlock(context.Background()) })
		}
		wg.Wait()
		close(ok)
		good := 0
		for err := range ok {
			if err == nil {
				good++
			} else {
				require.ErrorIs(t, err, distlock.ErrLost)
			}
		}
		require.Equal(t, 1, good)
	})
}

// Bug: the release is sent with the context of the request, which has just been cancelled.
func TestAttackUnlockWithCancelledContext(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, addrs []string) {
		locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
		ctx, cancel := context.WithCancel(t.Context())
		lease, err := locks.Lock(ctx, "a")
		require.NoError(t, err)
		cancel()
		require.NoError(t, lease.Context().Err(), "the lease does not end with the context of Lock")
		require.NoError(t, lease.Unlock(ctx))
		require.Empty(t, keys(t, addrs[0], unique(t)))
	})
}

// Bug: the client repeats a SET NX whose reply it has lost, sees its own key and takes it for somebody else's.
func TestAttackRetriedSet(t *testing.T) {
	t.Parallel()
	node := servers.StartRedis(t, 1)[0]
	proxy := faultproxy.New(t, node.Addr, faultproxy.Redis)
	locks := newLocker(t, []string{proxy.Addr()})
	for i := range 5 {
		warm, err := locks.Lock(t.Context(), "warm")
		require.NoError(t, err)
		require.NoError(t, warm.Unlock(t.Context()))
		fault := proxy.LoseReply(faultproxy.Contains("lock:retried"))
		lease, err := locks.TryLock(t.Context(), "retried")
		fault.Await(t)
		require.NoError(t, err, i)
		require.NoError(t, lease.Unlock(t.Context()))
	}
	requireNoKeys(t, "", 5*time.Second, node.Addr)
}

// onExtension is a go-redis hook that is called with each key whose extension begins.
type onExtension func(key string)

func (onExtension) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f onExtension) begin(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if isExtension(cmd) {
			f(cmd.Args()[3].(string))
		}
	}
}

func (f onExtension) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		f.begin(cmd)
		return next(ctx, cmd)
	}
}

func (f onExtension) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		f.begin(cmds...)
		return next(ctx, cmds)
	}
}

// Bug: a renewal that is under way when the lock is released brings it back. Each holder unlocks at the moment when
// its watchdog sends an extension.
func TestAttackRenewalAfterUnlock(t *testing.T) {
	const rounds = 6000
	var confirmed atomic.Int64
	// On a busy machine the shortest TTLs are over at once.
	for ttl := 30 * time.Millisecond; ttl < time.Second && confirmed.Load() < rounds && !t.Failed(); ttl *= 2 {
		unlockDuringRenewals(t, ttl, rounds, &confirmed)
	}
	require.GreaterOrEqual(t, confirmed.Load(), int64(rounds))
}

// unlockDuringRenewals adds to confirmed until there are as many rounds, or for a while.
func unlockDuringRenewals(t *testing.T, ttl time.Duration, rounds int64, confirmed *atomic.Int64) {
	const workers, awhile = 25, 20 * time.Second
	addr := servers.Redis(t, 1)
	client := connect(t, addr...)[0]
	var underWay sync.Map // channels, by key
	extended := redis.NewClient(&redis.Options{Addr: addr[0], ContextTimeoutEnabled: true})
	t.Cleanup(func() { extended.Close() })
	extended.AddHook(onExtension(func(key string) {
		if c, held := underWay.Load(key); held {
			select {
			case c.(chan struct{}) <- struct{}{}:
			default:
			}
		}
	}))
	locks, err := distlock.New([]redis.UniversalClient{extended}, distlock.Prefix(unique(t)), distlock.TTL(ttl), distlock.HandOver(0))
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	start := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			ctx := context.Background()
			name := string(rune('a' + w))
			begun := make(chan struct{}, 1)
			underWay.Store(unique(t)+name, begun)
			value := func() string {
				v, err := client.Get(ctx, unique(t)+name).Result()
				if err != nil && !errors.Is(err, redis.Nil) {
					t.Error(err)
				}
				return v
			}
			for i := 0; confirmed.Load() < rounds && time.Since(start) < awhile; i++ {
				select {
				case <-begun: // of the lease before this one
				default:
				}
				lease, err := locks.Lock(ctx, name)
				if err != nil {
					continue
				}
				held := value()
				select {
				case <-begun:
				case <-lease.Context().Done():
				}
				if lease.Unlock(ctx) != nil || held == "" {
					continue // lost, or no answer in time: then the TTL ends it
				}
				confirmed.Add(1)
				if value() == held {
					t.Errorf("round %d: the lock is back", i)
					return
				}
			}
		})
	}
	wg.Wait()
	require.True(t, eventually(time.Second, func() bool {
		return !slices.ContainsFunc(keys(t, addr[0], unique(t)), func(key string) bool { return !strings.HasSuffix(key, ":queue") })
	}), "a lock is left")
	// A server that does not answer within NodeTimeout, which is a quarter of the TTL, may keep a place in a queue for 10 s.
	requireNoKeys(t, unique(t), 15*time.Second, addr...)
	t.Logf("%d rounds with a TTL of %v or less", confirmed.Load(), ttl)
}
