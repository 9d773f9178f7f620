package distlock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// round is one question put to all nodes: to take, to extend or to give back a lock. redsync asks and counts; the round
// goes with it in the context that redsync hands to every node's Pool, bounds the time and keeps what each node said.
type round struct {
	kind roundKind
	// ctx is what the clients get. It is detached from the caller's, since a command that was sent must be seen to its
	// end, and lasts until the last command of the round has ended, or NodeTimeout.
	ctx    context.Context
	cancel context.CancelFunc
	refs   atomic.Int32
	// giveUp is closed when the caller wants to go; nil if it has to stay. hasty is set if that may be before
	// NodeTimeout is over.
	giveUp <-chan struct{}
	hasty  bool
	// decided is closed when enough nodes have said yes, or so many have not that it can't be enough any more.
	decided chan struct{}
	// woke is set when a node named a waiting process to wake.
	woke atomic.Bool

	mu      sync.Mutex
	yes, no int
	closed  bool
	nodes   []NodeError // those that did not say yes
	total   int
	cleanUp *round
}

type roundKind int

const (
	taking roundKind = iota
	dropping
	extending
	giving
	queueing
)

// newRound starts a round with as many nodes. The caller must end it.
func newRound(ctx context.Context, kind roundKind, total int, timeout time.Duration) *round {
	r := &round{kind: kind, total: total, decided: make(chan struct{})}
	r.refs.Store(1)
	r.ctx, r.cancel = context.WithTimeout(context.WithoutCancel(ctx), timeout)
	return r
}

// context returns the context to call redsync with. It does not end, since the round bounds the time itself. That it
// has a deadline spares the timer that redsync would set up otherwise.
func (r *round) context() context.Context { return roundContext{r} }

type roundContext struct{ round *round }

type roundKey struct{}

func (c roundContext) Deadline() (time.Time, bool) { return c.round.ctx.Deadline() }
func (c roundContext) Done() <-chan struct{}       { return nil }
func (c roundContext) Err() error                  { return nil }

func (c roundContext) Value(key any) any {
	if key == (roundKey{}) {
		return c.round
	}
	return c.round.ctx.Value(key)
}

func roundOf(ctx context.Context) *round {
	r, _ := ctx.Value(roundKey{}).(*round)
	return r
}

func (r *round) hold() { r.refs.Add(1) }

func (r *round) release() {
	if r.refs.Add(-1) == 0 {
		r.cancel()
	}
}

// until lets the nodes go when the caller's context ends.
func (r *round) until(ctx context.Context) {
	r.giveUp = ctx.Done()
	if deadline, ok := ctx.Deadline(); ok {
		mine, _ := r.ctx.Deadline()
		r.hasty = deadline.Before(mine)
	}
}

// end says that redsync has returned. Commands that are still on their way go on.
func (r *round) end() {
	r.mu.Lock()
	r.decide()
	cleanUp := r.cleanUp
	r.mu.Unlock()
	if cleanUp != nil {
		cleanUp.end()
	}
	r.release()
}

// vote records what a node said.
func (r *round) vote(n *node, yes bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if yes {
		r.yes++
	} else {
		r.no++
		r.nodes = append(r.nodes, NodeError{
			Node: n.index,
			Addr: n.addr,
			Err:  err,
			Held: errors.Is(err, errHeld) || errors.Is(err, errGone),
		})
	}
	if quorum := r.total/2 + 1; r.yes >= quorum || r.no > r.total-quorum {
		r.decide()
	}
}

// decide closes decided. The round is locked.
func (r *round) decide() {
	if !r.closed {
		r.closed = true
		close(r.decided)
	}
}

// dropRound returns the round in which redsync cleans up after a failed attempt. It has its own time: that of the
// attempt may be used up.
func (r *round) dropRound(timeout time.Duration) *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cleanUp == nil {
		r.cleanUp = newRound(r.ctx, dropping, r.total, timeout)
		r.cleanUp.decide() // nothing depends on it: don't wait for a node that is late
	}
	return r.cleanUp
}

// error returns what the round came to, sorted out by node.
func (r *round) error(op, name string, reason, cause error) *Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Error{Op: op, Name: name, Err: reason, Cause: cause, Nodes: append([]NodeError(nil), r.nodes...), Total: r.total}
}
