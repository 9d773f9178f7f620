package quorum

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// kind says what an operation does to the lock.
type kind int

const (
	acquiring kind = iota
	extending
	releasing
)

// operation is one step in the life of an acquisition, done on all nodes in one round: the key is set, extended or
// deleted. An extension may still be under way when the release begins.
type operation struct {
	round
	kind       kind
	key, value string
	ttl        time.Duration
	grants     []grant
	words      []any // the command to acquire or to release, which is the same for every node; nil for an extension

	wake Waker       // of a release
	woke atomic.Bool // a node named a waiting process to wake

	until time.Time // how long a single holds the lock at least

	cleanUpOnce  sync.Once
	cleanUpRound *round
}

// Waker wakes the process that a node has taken off the queue of the lock that was released there.
type Waker func(ctx context.Context, n *Node, key, process string)

// cleanUp returns the round in which the keys of a failed attempt are deleted. It has its own time: that of the attempt
// may be used up.
func (op *operation) cleanUp(timeout time.Duration) *round {
	op.cleanUpOnce.Do(func() {
		op.cleanUpRound = newRound(op.ctx, op.total, timeout)
		op.cleanUpRound.decide() // nothing depends on it: don't wait for a node that is late
	})
	return op.cleanUpRound
}

// finish ends the rounds of the operation.
func (op *operation) finish() {
	if op.cleanUpRound != nil {
		op.cleanUpRound.end()
	}
	op.end()
}
