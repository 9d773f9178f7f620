package waitqueue

import (
	"context"
	_ "embed"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/quorum"
)

// queueTTL is how long a queue lives that nobody refreshes. A live waiter does so every maxWait.
const queueTTL = 10 * maxWait

// endless is what a key without a TTL has left.
const endless = time.Duration(math.MaxInt64)

var (
	//go:embed lua/join.lua
	joinSource string
	joinScript = redis.NewScript(joinSource)
)

// push puts a process into the lock's queue: at the end, or at the head if it is to be first. If it is there already,
// it keeps its place. push returns how long the lock has left on this node, endless if its key has no TTL, or a negative
// time if nobody holds it here.
func push(ctx context.Context, n *quorum.Node, key, process string, first bool) (time.Duration, error) {
	end := "RPUSH"
	if first {
		end = "LPUSH"
	}
	keys := []string{key, n.Keys().Queue(key)}
	ms, err := joinScript.Run(ctx, n.Client(), keys, process, queueTTL.Milliseconds(), end).Int64()
	if ms == -1 {
		return endless, err
	}
	return time.Duration(ms) * time.Millisecond, err
}

// remove takes a process out of the queue. It reports false if somebody has taken it out, to wake it.
func remove(ctx context.Context, n *quorum.Node, key, process string) (bool, error) {
	removed, err := n.Client().LRem(ctx, n.Keys().Queue(key), 0, process).Result()
	return removed > 0, err
}

// Wake tells a waiting process that the lock has been released, or the next one if that is gone. The message goes
// through the client and not through the script: so a Cluster or a Ring sends it where the process has subscribed. It
// is a quorum.Waker.
//
// A place of this process may be left from a caller that has the lock, or had it: its hint came when it had taken its place
// again. A message would come while that caller releases the lock, and be taken for one to a caller that is about to try.
func (ws *Waiters) Wake(ctx context.Context, n *quorum.Node, key, process string) {
	for process != "" {
		if process == ws.process {
			if ws.tell(key) {
				return
			}
		} else if heard, err := n.Publish(ctx, process, key); err != nil || heard > 0 {
			return
		}
		var err error
		if process, err = n.Next(ctx, key); err != nil {
			return
		}
	}
}

// wakeNext wakes the process that has waited longest.
func (ws *Waiters) wakeNext(ctx context.Context, n *quorum.Node, key string) {
	if process, err := n.Next(ctx, key); err == nil {
		ws.Wake(ctx, n, key, process)
	}
}
