package distlock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// slotPart returns what Redis Cluster hashes of a key:
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
func slotPart(key string) string {
	if _, after, found := strings.Cut(key, "{"); found {
		if tag, _, found := strings.Cut(after, "}"); found && tag != "" {
			return tag
		}
	}
	return key
}

func TestQueueKeyIsInTheSlotOfItsLock(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{
		"lock:a", "lock:{user1}:cart", "lock:{user1}:cart:queue", "lock:{user1}", "{", "lock:{", "a{b", "名前", "lock: ",
		`lock:{"id":1}`,
	} {
		for _, other := range []string{queueKey(key), wokenKey(key)} {
			require.Equal(t, slotPart(key), slotPart(other), key)
			require.False(t, strings.HasPrefix(other, "lock:"), "it is a lock's key: %s", other)
			require.False(t, seen[other], other)
			seen[other] = true
		}
		require.True(t, sameSlot(key), key)
	}
	for _, key := range []string{"}", "{}", "{}x", "{}{a}", "}{", "lock:a}"} {
		require.NotEqual(t, slotPart(key), slotPart(queueKey(key)), key)
		require.False(t, sameSlot(key), key)
	}
}

func TestConfig(t *testing.T) {
	c, err := newConfig(nil)
	require.NoError(t, err)
	require.Equal(t, 8*time.Second, c.ttl)
	require.Equal(t, 250*time.Millisecond, c.nodeTimeout)
	require.Equal(t, "lock:", c.prefix)
	c, err = newConfig([]Option{TTL(100*time.Millisecond + 300*time.Microsecond), HandOver(0)})
	require.NoError(t, err)
	require.Equal(t, 100*time.Millisecond, c.ttl, "Redis counts in milliseconds")
	require.Equal(t, 25*time.Millisecond, c.nodeTimeout, "it fits the TTL")
	require.Zero(t, c.handOver)
	c, err = newConfig([]Option{TTL(time.Second), NodeTimeout(time.Second), Prefix("a"), Prefix(""), NodeTimeout(2 * time.Second),
		TTL(8 * time.Second)})
	require.NoError(t, err)
	require.Equal(t, 8*time.Second, c.ttl, "the last one counts")
	require.Equal(t, 2*time.Second, c.nodeTimeout)
	require.Empty(t, c.prefix)
}

func TestError(t *testing.T) {
	cause := errors.New("EOF")
	err := error(&Error{Op: "lock", Name: "a", Err: ErrNotAcquired, Cause: context.Canceled, Total: 3, Nodes: []NodeError{
		{Node: 0, Addr: "10.0.0.1:6379", Err: errHeld, Held: true}, {Node: 2, Err: cause},
	}})
	require.EqualError(t, err, `distlock: lock "a": lock not acquired: context canceled: 2 of 3 nodes failed or refused: `+
		`node 0 (10.0.0.1:6379): held by somebody else; node 2: EOF`)
	for _, is := range []error{ErrNotAcquired, context.Canceled, errHeld, cause} {
		require.ErrorIs(t, err, is)
	}
	require.NotErrorIs(t, err, ErrLost)
	var node *NodeError
	require.ErrorAs(t, err, &node)
	require.Equal(t, 0, node.Node)
}

func TestRunID(t *testing.T) {
	require.Equal(t, "abc", runID("# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\ntcp_port:6379\r\n"))
	require.Empty(t, runID("# Server\r\nredis_version:7.0.15\r\n"))
	require.Empty(t, runID(""))
}

func TestPollWait(t *testing.T) {
	for range 1000 {
		require.LessOrEqual(t, pollWait(time.Hour), time.Second)
		require.GreaterOrEqual(t, pollWait(time.Hour), 700*time.Millisecond)
		require.Equal(t, 11*time.Millisecond, pollWait(10*time.Millisecond), "the holder may have died")
		require.LessOrEqual(t, pollWait(-1), time.Second)
	}
}

func TestTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := &tasks{closing: t.Context()}
		tasks.wait(time.Hour)
		start := time.Now()
		for i := range 3 {
			tasks.run(func() { time.Sleep(time.Duration(i) * time.Second) })
		}
		tasks.wait(time.Millisecond)
		require.Equal(t, time.Millisecond, time.Since(start))
		tasks.wait(time.Hour)
		require.Equal(t, 2*time.Second, time.Since(start))
		synctest.Wait()
		require.Zero(t, tasks.running)
	})
}

func TestQueueNodesAreAllNodes(t *testing.T) {
	l := &Locker{}
	for i := range 5 {
		l.nodes = append(l.nodes, &node{index: i})
	}
	first := map[int]int{}
	for _, key := range strings.Split("a b c d e f g h i j k l m n o p q r s t u v w x y z", " ") {
		nodes := l.queueNodes(key)
		require.ElementsMatch(t, l.nodes, nodes)
		require.Equal(t, nodes, l.queueNodes(key), "every process has the same order")
		first[nodes[0].index]++
	}
	require.Len(t, first, 5, "locks are spread")
}

func TestValuesAreUnique(t *testing.T) {
	a, b := newValues(), newValues()
	seen := map[string]bool{}
	for range 1000 {
		for _, v := range []*values{a, b} {
			value := v.next()
			require.False(t, seen[value])
			seen[value] = true
		}
	}
}

// Nothing listens there: the error says so for each node, and nothing hangs.
func TestUnreachableNodes(t *testing.T) {
	var clients []redis.UniversalClient
	for _, addr := range []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"} {
		c := redis.NewClient(&redis.Options{Addr: addr})
		defer c.Close()
		clients = append(clients, c)
	}
	var events []Event
	locks, err := New(clients, TTL(400*time.Millisecond), OnEvent(func(e Event) { events = append(events, e) }))
	require.NoError(t, err)
	defer locks.Close()
	_, err = locks.TryLock(t.Context(), "a")
	var failure *Error
	require.ErrorAs(t, err, &failure)
	require.ErrorIs(t, err, ErrNotAcquired)
	require.Len(t, failure.Nodes, 3)
	start := time.Now()
	_, err = locks.Lock(t.Context(), "a")
	require.ErrorIs(t, err, ErrNotAcquired)
	require.ErrorIs(t, err, errBroken)
	require.GreaterOrEqual(t, time.Since(start), 400*time.Millisecond)
	require.Len(t, events, 1)
	require.Equal(t, Waited, events[0].Kind)
	require.Error(t, events[0].Err)
	require.Equal(t, "waited", events[0].Kind.String())
	require.Equal(t, "EventKind(99)", EventKind(99).String())
	require.NoError(t, locks.Close())
	locks.tasks.wait(10 * time.Second) // what was cleaned up in the background has come to an end
	locks.waiters.mu.Lock()
	defer locks.waiters.mu.Unlock()
	require.Zero(t, len(locks.passed)+len(locks.waiters.byKey)+locks.line.Waiting("a"))
}
