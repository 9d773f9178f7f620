package distlock

import (
	"context"
	"errors"
	"time"

	"github.com/nogap-go/nogap/internal/quorum"
	"github.com/nogap-go/nogap/internal/waitqueue"
)

var (
	errHeldHere   = errors.New("held by another goroutine of this process")
	errYielded    = errors.New("released a moment ago for another process, which has waited")
	errWaitLimit  = errors.New("WaitLimit is over")
	errBroken     = errors.New("too few nodes have been in order for a whole TTL")
	errIncurable  = errors.New("no waiting removes the reason")
	errTooLate    = errors.New("granted too late to be of use")
	errLostAtOnce = errors.New("lost again at once")
	errNested     = errors.New("the context comes from a lease of this lock that is not unlocked yet:" +
		" work under that lease, or pass a context that does not come from it")
)

// request is one caller's way to the lease of one lock.
type request struct {
	locker      *Locker
	name        string
	parent      context.Context // of the lease's context
	detached    bool            // the lease's context does not end with parent
	observation *observation

	// What follows is set on the way.
	start      time.Time
	turn       waitqueue.Turn
	waited     bool          // the lock was not free at once
	contended  bool          // nor was it free when the callers of this process had gone
	ahead      time.Duration // how long those were ahead
	handedOver bool          // another goroutine of this process has left it
}

// lock waits for the lock.
func (r *request) lock(ctx context.Context) (*Lease, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	if r.told() {
		r.start = time.Now()
	}
	limited := ctx
	if limit := r.locker.config.waitLimit; limit > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, limit, errWaitLimit)
		defer cancel()
	}
	lease, err := r.wait(limited)
	r.tell(ctx, lease, err)
	return lease, err
}

// try acquires the lock if it is free.
func (r *request) try(ctx context.Context) (*Lease, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	if r.told() {
		r.start = time.Now()
	}
	turn, free := r.locker.waiters.Try(r.name)
	if !free {
		return nil, r.notAcquired(nil, errHeldHere)
	}
	r.turn = turn
	if r.locker.handovers.yields(r.name) {
		r.turn.Done()
		return nil, r.notAcquired(nil, errYielded)
	}
	r.locker.handovers.take(r.name).discard()
	owned, failed := r.attempt(ctx)
	if failed != nil {
		r.turn.Done()
		return nil, r.notAcquired(failed, ctx.Err())
	}
	lease, err := r.begin(ctx, owned)
	if err == nil {
		r.tell(ctx, lease, nil)
	}
	return lease, err
}

// check looks at what the caller brings.
func (r *request) check(ctx context.Context) error {
	if err := checkName(r.locker.nodes, r.name); err != nil {
		return err
	}
	if err := r.ended(ctx); err != nil {
		return r.notAcquired(nil, err)
	}
	if r.locker.holds(ctx, r.name) {
		return r.notAcquired(nil, errNested)
	}
	return nil
}

// wait waits for the turn in the process, and then for the lock itself.
func (r *request) wait(ctx context.Context) (*Lease, error) {
	var err error
	if r.turn, r.waited, err = r.locker.waiters.Wait(ctx, r.name); err != nil {
		r.locker.handovers.sweep(r.name)
		reason := r.ended(ctx)
		if reason == nil {
			return nil, r.notAcquired(r.locker.nodes.Broken(), errBroken)
		}
		return nil, r.notAcquired(nil, reason)
	}
	from := r.locker.handovers.take(r.name)
	if from.owned != nil {
		if lease := r.lease(from.owned); lease != nil {
			r.handedOver = true
			return lease, nil
		}
		from.discard()
	}
	owned, err := r.contend(ctx, from.yields())
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, owned)
}

// contend contends with other processes for the lock. If yield is set it lets the one that was just woken go first.
func (r *request) contend(ctx context.Context, yield bool) (*ownership, error) {
	defer r.locker.nodes.Waiting()()
	var failed, examined *quorum.Tally
	if r.told() {
		r.ahead = time.Since(r.start)
	}
	if yield {
		r.waited, r.contended = true, true
		r.turn.Yield(ctx)
	}
	for {
		// What a last try got it would have to give back, and its keys would look like a holder's to the others.
		if reason := r.ended(ctx); reason != nil {
			return nil, r.giveUp(failed, reason)
		}
		owned, now := r.attempt(ctx)
		if now == nil {
			r.turn.Acquired()
			return owned, nil
		}
		if failed == nil || !now.Interrupted() {
			failed = now.Explain(examined)
		}
		if reason := r.hopeless(ctx, failed); reason != nil {
			return nil, r.giveUp(failed, reason)
		}
		r.waited, r.contended = true, true
		if strange := r.turn.WaitForRelease(ctx, failed.Held()); strange {
			examined = r.locker.nodes.Examine(ctx, r.name)
			if failed = failed.Explain(examined); failed.Incurable() {
				return nil, r.giveUp(failed, errIncurable)
			}
			r.turn.WaitForRelease(ctx, failed.Held())
		}
		if broken := r.locker.nodes.Broken(); broken != nil {
			return nil, r.giveUp(broken, errBroken)
		}
	}
}

// hopeless returns why there is no sense in waiting after an attempt that has failed, or nil.
func (r *request) hopeless(ctx context.Context, failed *quorum.Tally) error {
	switch reason := r.ended(ctx); {
	case reason != nil:
		return reason
	case failed.Incurable():
		return errIncurable
	case r.locker.nodes.Broken() != nil:
		return errBroken
	}
	return nil
}

// attempt tries once to get the lock from the nodes.
func (r *request) attempt(ctx context.Context) (*ownership, *quorum.Tally) {
	r.observation.attempt()
	a, until, failed := r.locker.nodes.Acquire(ctx, r.name)
	if failed != nil {
		return nil, failed
	}
	return newOwnership(r.parent, r.locker, r.name, a, until), nil
}

// begin starts a lease of a lock that was just acquired.
func (r *request) begin(ctx context.Context, owned *ownership) (*Lease, error) {
	reason := r.ended(ctx)
	if reason == nil {
		if lease := r.lease(owned); lease != nil {
			return lease, nil
		}
		reason = errLostAtOnce
	}
	handover{owned: owned}.discard()
	r.turn.Done()
	return nil, r.notAcquired(nil, reason)
}

func (r *request) lease(owned *ownership) *Lease {
	return r.locker.newLease(r.parent, r.detached, r.turn, owned)
}

// giveUp ends the turn. The caller need not wait for the clean-up, but the next one in the process must.
func (r *request) giveUp(failed *quorum.Tally, reason error) error {
	name, handovers := r.name, r.locker.handovers
	r.turn.GiveUp(func() { handovers.sweep(name) })
	return r.notAcquired(failed, reason)
}

// ended returns why the caller must not go on, or nil.
func (r *request) ended(ctx context.Context) error {
	if r.locker.background.Closed() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		if context.Cause(ctx) == errWaitLimit {
			return errWaitLimit // not an end of the caller's own context
		}
		return ctx.Err()
	}
	return nil
}

// notAcquired returns the error of a caller that did not get the lock. failed is that of the last attempt, if there was
// one.
func (r *request) notAcquired(failed *quorum.Tally, cause error) error {
	failure := r.locker.config.newError("lock", r.name, ErrNotAcquired, failed)
	if cause == nil && failed != nil && failed.Agreed() {
		cause = errTooLate
	}
	failure.Cause = cause
	return failure
}

// told reports whether anybody is told of the wait.
func (r *request) told() bool { return r.observation != nil || len(r.locker.config.onEvent) > 0 }

// tell tells how the wait has ended.
func (r *request) tell(ctx context.Context, lease *Lease, err error) {
	if !r.told() {
		return
	}
	var took time.Duration
	if err == nil {
		took = lease.since.Sub(r.start)
	} else {
		took = time.Since(r.start)
	}
	if r.waited || err != nil {
		var elsewhere time.Duration
		if r.contended {
			elsewhere = max(0, took-r.ahead)
		}
		r.observation.waited(took-elsewhere, elsewhere)
		r.locker.config.tell(ctx, Event{Kind: Waited, Name: r.name, HandedOver: r.handedOver, Duration: took, Err: err})
	}
	if err == nil {
		r.locker.config.tell(ctx, Event{Kind: Acquired, Name: r.name, HandedOver: r.handedOver, Duration: took})
	}
}
