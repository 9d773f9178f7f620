package distlock

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/internal/waitqueue"
)

var (
	errUnlocked = errors.New("it was unlocked before")
	errNoLease  = errors.New("distlock: Unlock: the lease is nil")
)

// Lease is a lock that is held. It is extended in the background until Unlock, so it must be unlocked: a lease that is
// forgotten is held until the process ends. Its methods may be called concurrently.
type Lease struct {
	locker   *Locker
	owned    *ownership
	turn     waitqueue.Turn
	since    time.Time // when the caller got the lock
	caller   context.Context
	ctx      context.Context
	cancel   context.CancelCauseFunc
	limit    *time.Timer // ends the lease when MaxHold is over; nil without MaxHold
	unlocked atomic.Bool
	detached bool // ctx does not end with caller
}

// newLease returns the lease of a lock that this process owns, or nil if the lock can't be trusted any more. The
// lease's context has the values of ctx; if detached is set it does not end with it.
func (l *Locker) newLease(ctx context.Context, detached bool, turn waitqueue.Turn, owned *ownership) *Lease {
	lease := &Lease{locker: l, owned: owned, turn: turn, since: time.Now(), caller: ctx, detached: detached}
	lease.ctx, lease.cancel = context.WithCancelCause((*leaseParent)(lease))
	if !owned.assign(lease, lease.since) {
		lease.cancel(ErrLost)
		return nil
	}
	if d := l.config.maxHold; d > 0 {
		lease.limit = time.AfterFunc(d, func() { owned.overrun(lease) })
	}
	return lease
}

// Name returns the name of the lock.
func (l *Lease) Name() string { return l.owned.name }

// Context returns a context that is cancelled with the cause ErrLost as soon as the lease can't be trusted any more,
// and in any case before Until. Unlock cancels it too, with the cause context.Canceled. Work under the lock should use
// it, directly or as the parent of its own contexts.
//
// It has the values of the context given to Lock or TryLock, but does not end with that context, which may bound how
// long to wait for the lock. In WithLock and WithLocks it does end with the caller's context.
//
// A process that is paused by its system or its runtime learns of the loss when it goes on, but the instructions that
// follow may run first. Only a Fence refuses their writes.
func (l *Lease) Context() context.Context { return l.ctx }

// Until returns the time up to which the lock is held if it is not extended again. Each extension moves it on.
func (l *Lease) Until() time.Time { return l.owned.heldUntil() }

// Unlock releases the lock, so that the next caller can get it. It does so even if ctx has ended: only the values of
// ctx are used. It takes no longer than NodeTimeout. When a lease is lost, the next caller of its process can
// try at that moment, before Unlock is called.
//
// ErrLost is returned when the lease had been lost, or was unlocked before. The work may then have overlapped with
// that of another holder. Unlock never touches a lock that somebody else has acquired since. Any other error says
// that too few nodes have confirmed the release, because their answers were lost for example. Those that did not
// confirm it are asked again in the background, and the lock ends with its TTL at the latest. The lease is over in
// all cases.
//
// Unlock of a nil *Lease returns an error, so it may be deferred before the error of Lock is looked at.
func (l *Lease) Unlock(ctx context.Context) error {
	if l == nil || l.locker == nil {
		return errNoLease
	}
	return l.locker.config.observed(ctx, "distlock.Unlock", func(ctx context.Context, ob *observation) error {
		return l.unlock(ctx, ob)
	})
}

// unlock hands the lock over to the next caller of this process, or releases it in Redis.
func (l *Lease) unlock(ctx context.Context, ob *observation) error {
	if l.unlocked.Swap(true) {
		failure := l.locker.config.newError("unlock", l.Name(), ErrLost, nil)
		failure.Cause = errUnlocked
		return failure
	}
	l.cancel(context.Canceled)
	if l.limit != nil {
		l.limit.Stop()
	}
	var (
		now  = time.Now()
		next handover
		err  error
	)
	more, turn := l.owned.unassign(now)
	if more && l.turn.Waiting() > 0 && !l.locker.background.Closed() {
		next.owned = l.owned
	} else {
		ob.attempt()
		woke, failed := l.owned.release(ctx)
		if err = failed; woke && turn {
			next.yield = time.Now().Add(waitqueue.YieldWait)
		}
	}
	l.pass(next)
	l.locker.config.tell(ctx, Event{
		Kind: Released, Name: l.Name(), HandedOver: next.owned != nil, Duration: now.Sub(l.since), Err: err,
	})
	return err
}

// pass ends the turn, and leaves something to the next one.
func (l *Lease) pass(next handover) {
	if next == (handover{}) {
		l.turn.Done()
		return
	}
	l.locker.handovers.leave(l.Name(), next)
	if !l.turn.Done() { // nobody is there to take it
		l.locker.handovers.sweep(l.Name())
	}
}

// valid reports whether the lease can be trusted at this moment.
func (l *Lease) valid() bool { return !l.unlocked.Load() && l.owned.serves(l) }

// confirm asks the nodes whether they still have the lease, and extends it. It returns ErrLost if they don't.
func (l *Lease) confirm(ctx context.Context) error {
	if !l.valid() {
		return l.locker.config.newError("extend", l.Name(), ErrLost, nil)
	}
	if err := l.owned.extend(ctx); err != nil {
		return err
	}
	if !l.valid() {
		return l.locker.config.newError("extend", l.Name(), ErrLost, nil)
	}
	return nil
}
