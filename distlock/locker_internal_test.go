package distlock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	c, err := newConfig(1, nil)
	require.NoError(t, err)
	require.Equal(t, 8*time.Second, c.ttl)
	require.Equal(t, 250*time.Millisecond, c.nodeTimeout)
	require.Equal(t, "lock:", c.prefix)
	c, err = newConfig(1, []Option{TTL(100*time.Millisecond + 300*time.Microsecond), HandOver(0)})
	require.NoError(t, err)
	require.Equal(t, 100*time.Millisecond, c.ttl, "Redis counts in milliseconds")
	require.Equal(t, 25*time.Millisecond, c.nodeTimeout, "it fits the TTL")
	require.Zero(t, c.handOver)
	c, err = newConfig(1, []Option{NodeTimeout(2 * time.Second), TTL(8 * time.Second), Prefix("")})
	require.NoError(t, err, "the order of the options does not matter")
	require.Equal(t, 2*time.Second, c.nodeTimeout)
	require.Empty(t, c.prefix)
}

// A label that is too long is shown in part, and the part ends between two characters.
func TestLabelThatIsTooLong(t *testing.T) {
	_, err := newConfig(1, []Option{Label("a" + strings.Repeat("é", 200))})
	require.EqualError(t, err, `distlock: Label: "aééééééééé"… has 401 bytes, more than 256`)
}

func TestError(t *testing.T) {
	cause, held := errors.New("EOF"), errors.New("held by somebody else")
	err := error(&Error{Op: "lock", Name: "a", Err: ErrNotAcquired, Cause: context.Canceled, Total: 3, Nodes: []NodeError{
		{Node: 0, Addr: "10.0.0.1:6379", Err: held, Held: true}, {Node: 2, Err: cause},
	}})
	require.EqualError(t, err, `distlock: lock "a": lock not acquired: context canceled: 2 of 3 nodes failed or refused: `+
		`node 0 (10.0.0.1:6379): held by somebody else; node 2: EOF`)
	for _, is := range []error{ErrNotAcquired, context.Canceled, held, cause} {
		require.ErrorIs(t, err, is)
	}
	require.NotErrorIs(t, err, ErrLost)
	var node *NodeError
	require.ErrorAs(t, err, &node)
	require.Equal(t, 0, node.Node)
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
	locks, err := New(clients, TTL(400*time.Millisecond), OnEvent(func(_ context.Context, e Event) {
		if e.Kind != NotQueued { // which comes or not, as the nodes are known to be down already or not
			events = append(events, e)
		}
	}))
	require.NoError(t, err)
	defer locks.Close()
	start := time.Now() // the nodes are found to be down by the first attempt
	_, err = locks.TryLock(t.Context(), "a")
	var failure *Error
	require.ErrorAs(t, err, &failure)
	require.ErrorIs(t, err, ErrNotAcquired)
	require.Len(t, failure.Nodes, 3)
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
	require.True(t, locks.background.Wait(10*time.Second), "what was cleaned up in the background has come to an end")
	require.Empty(t, locks.handovers.byName)
	_, free := locks.waiters.Try("a")
	require.True(t, free)
}
