package quorum

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// round is one question put to nodes: to acquire, to extend or to release a lock, for example. It bounds the time, and
// keeps what each node said.
type round struct {
	// ctx is what the clients get. It is detached from the caller's, since a command that was sent must be seen to its
	// end, and lasts until the last command of the round has ended, or the timeout.
	ctx    context.Context
	cancel context.CancelFunc
	refs   atomic.Int32
	// interrupt is closed when the caller wants to go; nil if it has to stay. hasty is set if that may be before the
	// timeout is over.
	interrupt <-chan struct{}
	hasty     bool

	mu      sync.Mutex
	yes     int
	failed  []NodeFailure // the nodes that did not say yes
	total   int
	settled bool          // as decided says
	decided chan struct{} // nil until somebody waits for it
}

// newRound starts a round with as many nodes. The caller must end it.
func newRound(ctx context.Context, total int, timeout time.Duration) *round {
	r := new(round)
	r.start(ctx, total, timeout)
	return r
}

// start starts a zero round.
func (r *round) start(ctx context.Context, total int, timeout time.Duration) {
	r.total = total
	r.refs.Store(1)
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	r.ctx, r.cancel = context.WithTimeout(ctx, timeout)
}

// retain keeps the round's context from ending before drop is called.
func (r *round) retain() { r.refs.Add(1) }

func (r *round) drop() {
	if r.refs.Add(-1) == 0 {
		r.cancel()
	}
}

// interruptedBy lets the nodes go when the caller's context ends.
func (r *round) interruptedBy(ctx context.Context) {
	r.interrupt = ctx.Done()
	if deadline, ok := ctx.Deadline(); ok {
		mine, _ := r.ctx.Deadline()
		r.hasty = deadline.Before(mine)
	}
}

// end says that the caller has all the answers that it waits for. Commands that are still on their way go on.
func (r *round) end() {
	r.decide()
	r.drop()
}

// vote records what a node said: no error is a yes.
func (r *round) vote(n *Node, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.yes++
	} else {
		r.failed = append(r.failed, n.Failure(err))
	}
	if quorum := majority(r.total); r.yes >= quorum || len(r.failed) > r.total-quorum {
		r.settle()
	}
}

// whenDecided returns a channel that is closed when enough nodes have said yes, or so many have not that it can't be
// enough any more.
func (r *round) whenDecided() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.decided == nil {
		r.decided = make(chan struct{})
		if r.settled {
			close(r.decided)
		}
	}
	return r.decided
}

// decide ends the wait for nodes that are late.
func (r *round) decide() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle()
}

// settle closes decided. The round is locked.
func (r *round) settle() {
	if !r.settled && r.decided != nil {
		close(r.decided)
	}
	r.settled = true
}

// tally returns what the round came to.
func (r *round) tally() *Tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Tally{Total: r.total, Failed: append([]NodeFailure(nil), r.failed...)}
}
