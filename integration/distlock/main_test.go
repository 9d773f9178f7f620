//go:build unix

package distlock_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(child(role))
	}
	// Most tests wait most of the time, so more of them fit side by side than there are processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	// go-redis tries for up to a second after Close to reach a server that is gone.
	servers.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// connect returns a client for each server, with go-redis's own defaults: five seconds for a reply, and three retries.
func connect(tb testing.TB, addrs ...string) []redis.UniversalClient {
	tb.Helper()
	clients := make([]redis.UniversalClient, len(addrs))
	for i, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr})
		tb.Cleanup(func() { client.Close() })
		clients[i] = client
	}
	return clients
}

func addrs(nodes []*servers.Server) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.Addr
	}
	return list
}

// slack is what a time may be longer than it should, by the clock of package calm.
const slack = 500 * time.Millisecond

// patient is what a node gets in tests that are about something else: a busy machine may be slow, but is in order.
var patient = distlock.NodeTimeout(2 * time.Second)

// newLocker returns a patient Locker on clients of its own, as another process would have it.
func newLocker(tb testing.TB, addrs []string, opts ...distlock.Option) *distlock.Locker {
	tb.Helper()
	return newLockerWith(tb, addrs, append([]distlock.Option{patient}, opts...)...)
}

// newLockerWith returns a Locker with these options only, for a TTL too short for patience.
func newLockerWith(tb testing.TB, addrs []string, opts ...distlock.Option) *distlock.Locker {
	tb.Helper()
	l, err := distlock.New(connect(tb, addrs...), opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, l.Close()) })
	return l
}

// unique returns a prefix for the keys of a test, on servers that the tests share.
func unique(tb testing.TB) string { return tb.Name() + ":" }

// keys returns the keys with the prefix that a server has.
func keys(tb testing.TB, addr, prefix string) []string {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	all, err := client.Keys(context.Background(), "*").Result()
	require.NoError(tb, err)
	var mine []string
	for _, key := range all {
		if strings.Contains(key, prefix) {
			mine = append(mine, key)
		}
	}
	return mine
}

// requireNoKeys waits until no server has a key with the prefix: the last of the clean-up is done in the background. The
// notes of releases may still be there, as long as they end by themselves.
func requireNoKeys(tb testing.TB, prefix string, within time.Duration, addrs ...string) {
	tb.Helper()
	var left []string
	ok := eventually(within, func() bool {
		left = nil
		for _, addr := range addrs {
			for _, key := range keys(tb, addr, prefix) {
				if !isNote(tb, addr, key) {
					left = append(left, key)
				}
			}
		}
		return len(left) == 0
	})
	require.True(tb, ok, "left behind: %v", left)
}

// isNote reports whether a key is the note of a release. It has to end with NodeTimeout.
func isNote(tb testing.TB, addr, key string) bool {
	tb.Helper()
	if !strings.HasSuffix(key, ":woken") {
		return false
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	left, err := client.PTTL(context.Background(), key).Result()
	require.NoError(tb, err)
	require.NotEqual(tb, time.Duration(-1), left, "%s never ends", key)
	require.LessOrEqual(tb, left, 2*time.Second+time.Millisecond, key)
	return true
}

// eventually waits for a condition. Like the clock of package calm, it counts no look for more than it takes where nothing
// else runs.
func eventually(within time.Duration, met func() bool) bool {
	const most = 20 * time.Millisecond
	for last := time.Now(); ; time.Sleep(time.Millisecond) {
		if met() {
			return true
		}
		now := time.Now()
		if within -= min(now.Sub(last), most); within < 0 {
			return false
		}
		last = now
	}
}

// each runs a test on one node and on five.
func each(t *testing.T, test func(t *testing.T, addrs []string)) {
	for _, n := range []int{1, 5} {
		t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) { test(t, servers.Redis(t, n)) })
	}
}
