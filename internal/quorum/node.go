package quorum

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
)

// Node is one of the independent Redis servers, behind the caller's client. A client may hang for as long as its own
// timeouts and retries allow, 20 seconds by default in go-redis, and does not stop when its context ends. So a command
// runs on a goroutine of its own, for which nobody waits longer than the round that it belongs to.
//
// That costs a switch between goroutines, a tenth of an uncontended lock on a fast network. A *redis.Client does
// without it while its node answers in time: it can be told to keep to the timeout itself.
type Node struct {
	index      int
	addr       string
	given      redis.UniversalClient // as the caller gave it
	client     redis.UniversalClient // for commands
	prompt     bool                  // the client keeps to the timeout
	slotted    bool                  // the client chooses the server by the key
	timeout    time.Duration
	keys       Keys
	background *background.Group
	pending    pendingDeletes
	looking    looking

	// late is set while the node's last answer came too late or not at all. A late node is still asked, but its answer
	// is waited for only as long as it can make a difference.
	late     atomic.Bool
	inFlight atomic.Int32 // commands on goroutines of their own
	inPerson atomic.Int32 // commands on those of their callers

	// alone is set if the server says that it is one by itself, and so has all keys: then a script may have those of several locks.
	// After the server has refused such a script, each lock gets a script of its own until apart.
	alone atomic.Bool
	apart atomic.Int64 // in Unix nanoseconds
	probe probe
}

// maxLate bounds the commands in flight to a node that is late, and with them the goroutines and connections that hang
// there.
const maxLate = 32

func newNode(index int, client redis.UniversalClient, c Config, bg *background.Group) *Node {
	n := &Node{
		index: index, addr: address(client), given: client, client: client, timeout: c.Timeout, keys: c.Keys, background: bg,
		looking: newLooking(),
	}
	switch c := client.(type) {
	case *redis.ClusterClient, *redis.Ring:
		n.slotted = true
	case *redis.Client:
		n.prompt = true
		// The deadline of the round's context is all that a client needs which heeds it. One without a timeout of its
		// own, which shows as a negative one, sets no deadline whatever the context says.
		if o := c.Options(); !o.ContextTimeoutEnabled || o.ReadTimeout < 0 || o.WriteTimeout < 0 {
			own := c.WithTimeout(n.timeout)            // with the same pool of connections, but without hooks
			own.Options().ContextTimeoutEnabled = true // or each read has the whole time
			n.client = own
		}
	}
	return n
}

func address(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().Addr
	case *redis.ClusterClient:
		return fmt.Sprint(c.Options().Addrs)
	}
	return ""
}

// Client returns the client to send commands with, in Ask, or with a context that has a deadline.
func (n *Node) Client() redis.UniversalClient { return n.client }

// Keys returns the names of the keys.
func (n *Node) Keys() Keys { return n.keys }

// Index returns the node's place among the nodes, from 0.
func (n *Node) Index() int { return n.index }

// Late reports whether the node's last answer came too late or not at all.
func (n *Node) Late() bool { return n.late.Load() }

// Timeout returns how long the node may take to answer.
func (n *Node) Timeout() time.Duration { return n.timeout }

// pipeline returns a pipeline for keys that are on the same server as this one. That of a Ring goes to its shard: once a
// Ring is closed, its own pipeline panics on a goroutine where nobody can recover.
func (n *Node) pipeline(ctx context.Context, key string) (redis.Pipeliner, error) {
	ring, ok := n.given.(*redis.Ring)
	if !ok {
		return n.client.Pipeline(), nil
	}
	shard, err := ring.GetShardClientForKey(key)
	if err != nil {
		return nil, err
	}
	return shard.Pipeline(), nil
}

// judge notes whether the node answered in time, and returns the error to report. ctx is that of the round.
func (n *Node) judge(ctx context.Context, err error) error {
	if answered(err) {
		if n.late.Load() && ctx.Err() == nil {
			n.late.Store(false)
		}
		return err
	}
	// The connection's deadline, which is the context's, may be noticed first.
	if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(deadline) {
		n.late.Store(true)
		return n.unanswered(err)
	}
	if errors.Is(err, redis.ErrPoolTimeout) {
		if why := n.connectionsInUse(); why != nil {
			return fmt.Errorf("%w: %w", err, why)
		}
	}
	return err
}
