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
func Wake(ctx context.Context, n *quorum.Node, key, process string) {
	for process != "" {
		heard, err := n.Publish(ctx, process, key)
		if err != nil || heard > 0 {
			return
		}
		if process, err = n.Next(ctx, key); err != nil {
			return
		}
	}
}

// wakeNext wakes the process that has waited longest.
func wakeNext(ctx context.Context, n *quorum.Node, key string) {
	if process, err := n.Next(ctx, key); err == nil {
		Wake(ctx, n, key, process)
	}
}
