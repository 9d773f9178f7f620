package quorum

import (
	"context"
	"time"
)

// Acquisition is a lock that a majority of the nodes has granted, under a value of its own. Release may be called once,
// also while an extension is under way: that one then finds no key with our value.
type Acquisition struct {
	nodes      *Nodes
	key, value string
	grants     []grant
}

// mutex is what an operation needs of redsync's Mutex.
type mutex interface {
	TryLockContext(ctx context.Context) error
	ExtendContext(ctx context.Context) (bool, error)
	UnlockContext(ctx context.Context) (bool, error)
	Until() time.Time
}

// acquire asks the nodes once.
func (a *Acquisition) acquire(ctx context.Context) (until time.Time, failed *Tally) {
	op := a.begin(ctx, acquiring)
	op.words = setWords(op)
	op.interruptedBy(ctx)
	m := op.mutex()
	err := m.TryLockContext(op.ctx)
	op.finish()
	if err != nil {
		return time.Time{}, op.tally() // it knows more than the error
	}
	return m.Until(), nil
}

// Extend gives the lock a new TTL, where the nodes still have it, and so asks them whether they have. It never sets the
// key anew. until is how long the lock is held at least; failed is nil if a majority agreed.
func (a *Acquisition) Extend(ctx context.Context) (until time.Time, failed *Tally) {
	op := a.begin(ctx, extending)
	m := op.mutex()
	ok, _ := m.ExtendContext(op.ctx)
	op.finish()
	if !ok {
		return time.Time{}, op.tally()
	}
	return m.Until(), nil
}

// Renew is Extend that does not wait: the lock is extended soon, together with others that are due. ends is when
// the lock would end without it: those that end first are extended first. If ctx has values, the commands are not promised
// to get them.
//
// done is called with what Extend would have returned. Others that were extended with it are told after it, so it must
// not wait for anything: what may take longer is in the function that it returns, unless that is nil.
//
// Renew sends nothing itself and waits for no server, so it may be called with a mutex locked that done needs.
func (a *Acquisition) Renew(ctx context.Context, ends time.Time, done func(until time.Time, failed *Tally) (then func())) {
	a.nodes.renewals.add(&renewal{a: a, ctx: ctx, ends: ends, done: done})
}

// Release deletes the lock where it is still ours, even if ctx has ended. What a node that does not answer may still
// have is deleted in the background. It calls wake for each node that took a waiting process off the lock's queue, also
// after it has returned; woke reports whether one did until now. failed is nil if a majority has confirmed it.
func (a *Acquisition) Release(ctx context.Context, wake Waker) (woke bool, failed *Tally) {
	op := a.begin(ctx, releasing)
	op.words = a.grants[0].node.releaseWords(op)
	op.wake = wake
	ok, _ := op.mutex().UnlockContext(op.ctx)
	op.finish()
	if !ok {
		failed = op.tally()
	}
	return op.woke.Load(), failed
}

func (a *Acquisition) begin(ctx context.Context, k kind) *operation {
	op := &operation{kind: k, key: a.key, value: a.value, ttl: a.nodes.ttl, grants: a.grants}
	op.start(ctx, len(a.grants), a.nodes.timeout)
	return op
}

func (op *operation) mutex() mutex {
	if len(op.grants) == 1 {
		return single{op}
	}
	return newRedsync(op)
}
