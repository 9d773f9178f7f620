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

// enough are the commands of which the documentation says that a user needs no others.
const enough = "+hello +ping +client +set +get +del +pexpire +pttl +rpush +lpush +lpop +lpos +lrem +lrange +eval +evalsha" +
	" +publish +subscribe"

// user makes a user of Redis with rights, and returns how to connect as that user.
func user(t *testing.T, addr string, rules ...string) func() redis.UniversalClient {
	t.Helper()
	admin := redis.NewClient(&redis.Options{Addr: addr})
	defer admin.Close()
	name := strings.ReplaceAll(t.Name(), " ", "_")
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">secret"}
	for _, rule := range strings.Fields(strings.Join(rules, " ")) {
		args = append(args, rule)
	}
	require.NoError(t, admin.Do(t.Context(), args...).Err())
	t.Cleanup(func() {
		admin := redis.NewClient(&redis.Options{Addr: addr})
		defer admin.Close()
		admin.Do(context.Background(), "ACL", "DELUSER", name)
	})
	return func() redis.UniversalClient {
		client := redis.NewClient(&redis.Options{Addr: addr, Username: name, Password: "secret"})
		t.Cleanup(func() { client.Close() })
		return client
	}
}

func lockerOf(t *testing.T, clients []redis.UniversalClient, opts ...distlock.Option) *distlock.Locker {
	t.Helper()
	locks, err := distlock.New(clients, append([]distlock.Option{patient}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	return locks
}

// A user who may use the keys and channels under the prefix, and the commands that the documentation lists, can do all
// that a Locker does.
func TestRightsThatAreEnough(t *testing.T) {
	t.Parallel()
	addr := servers.Redis(t, 1)[0]
	const prefix = "TestRightsThatAreEnough:"
	connect := user(t, addr, "~"+prefix+"*", "&"+prefix+"*", enough)
	var mu sync.Mutex
	var events []distlock.Event
	newLocker := func() *distlock.Locker {
		return lockerOf(t, []redis.UniversalClient{connect()}, distlock.Prefix(prefix), distlock.Label("me"),
			distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			}))
	}
	holder, waiter := newLocker(), newLocker()
	testWakeUp(t, addr, holder, waiter)

	lease, err := holder.Lock(t.Context(), "{tagged}:name")
	require.NoError(t, err)
	info, err := waiter.Inspect(t.Context(), "{tagged}:name")
	require.NoError(t, err)
	require.Equal(t, "me", info.Label)
	require.NoError(t, waiter.Break(t.Context(), "{tagged}:name"))
	require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
	requireNoKeys(t, prefix, 5*time.Second, addr)
	mu.Lock()
	defer mu.Unlock()
	for _, e := range events {
		if e.Kind != distlock.Released {
			require.NoError(t, e.Err)
		}
	}
}

// On a Cluster the user needs a few commands more, on each server.
func TestRightsThatAreEnoughOnACluster(t *testing.T) {
	t.Parallel()
	nodes := addrs(servers.StartRedisCluster(t, 3))
	const prefix = "TestRightsThatAreEnoughOnACluster:"
	for _, addr := range nodes {
		user(t, addr, "~"+prefix+"*", "&"+prefix+"*", enough, "+spublish +ssubscribe +cluster|slots +asking")
	}
	newLocker := func() *distlock.Locker {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: nodes, Username: t.Name(), Password: "secret"})
		t.Cleanup(func() { client.Close() })
		return lockerOf(t, []redis.UniversalClient{client}, distlock.Prefix(prefix),
			distlock.OnEvent(func(_ context.Context, e distlock.Event) {
				if e.Err != nil {
					t.Error(e.Err)
				}
			}))
	}
	processes := []*distlock.Locker{newLocker(), newLocker(), newLocker()}
	handOverInOrder(t, processes, nodes, "a", nil)
	require.ErrorIs(t, processes[0].Break(t.Context(), "a"), distlock.ErrNotHeld)
}

// What a user lacks is found out before the first lock, which would else be taken and not be released, or be slow.
func TestRightsThatAreMissing(t *testing.T) {
	t.Parallel()
	addr := servers.Redis(t, 1)[0]
	for name, tt := range map[string]struct{ prefix, rights, missing string }{
		"keys":    {"lacking-keys:", "~other:* &lacking-keys:*", "EVAL: NOPERM"},
		"channel": {"lacking-channel:", "~lacking-channel:*", "PUBLISH: NOPERM"},
		"eval":    {"lacking-eval:", "~lacking-eval:* &lacking-eval:* -eval", "EVAL: NOPERM"},
		"evalsha": {"lacking-evalsha:", "~lacking-evalsha:* &lacking-evalsha:* -evalsha", "EVALSHA: NOPERM"},
		"publish": {"lacking-publish:", "~lacking-publish:* &lacking-publish:* -publish", "PUBLISH: NOPERM"},
		"del":     {"lacking-del:", "~lacking-del:* &lacking-del:* -del", "DEL in scripts"},
		"queue":   {"lacking-queue:", "~lacking-queue:* &lacking-queue:* -lpop -lrem", "LREM, LPOP in scripts"},
	} {
		t.Run(name, func(t *testing.T) {
			connect := user(t, addr, enough, tt.rights)
			locks := lockerOf(t, []redis.UniversalClient{connect()}, distlock.Prefix(tt.prefix))
			lease, err := locks.TryLock(t.Context(), "a")
			require.ErrorIs(t, err, distlock.ErrNotAcquired)
			require.ErrorContains(t, err, "the user may not do what locks need")
			require.ErrorContains(t, err, tt.missing)
			require.ErrorContains(t, err, "node 0 ("+addr+")")
			require.Nil(t, lease)
			requireNoKeys(t, tt.prefix, 5*time.Second, addr)
		})
	}
}

// Whether a user may subscribe shows when a caller waits for the first time. It is told, and the caller goes on.
func TestSubscriptionThatIsRefused(t *testing.T) {
	t.Parallel()
	addr := servers.Redis(t, 1)[0]
	const prefix = "lacking-subscribe:"
	connect := user(t, addr, enough, "~"+prefix+"* &"+prefix+"* -subscribe")
	failed := make(chan distlock.Event, 100)
	waiter := lockerOf(t, []redis.UniversalClient{connect()}, distlock.Prefix(prefix),
		distlock.OnEvent(func(_ context.Context, e distlock.Event) {
			if e.Kind == distlock.NotQueued {
				select {
				case failed <- e:
				default:
				}
			}
		}))
	holder := newLocker(t, []string{addr}, distlock.Prefix(prefix))
	lease, err := holder.Lock(t.Context(), "a")
	require.NoError(t, err)
	got := make(chan error, 1)
	go func() {
		lease, err := waiter.Lock(context.Background(), "a")
		if err == nil {
			err = lease.Unlock(context.Background())
		}
		got <- err
	}()
	event := <-failed
	require.Equal(t, "a", event.Name)
	require.ErrorContains(t, event.Err, "NOPERM")
	require.ErrorContains(t, event.Err, "node 0 ("+addr+")")
	require.NoError(t, lease.Unlock(t.Context()))
	require.NoError(t, <-got)
}
