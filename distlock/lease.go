package distlock

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/internal/keyqueue"
)

var errUnlocked = errors.New("it was unlocked before")

// Lease is a lock that is held. It is extended in the background until Unlock, so it must be unlocked: a lease that is
// forgotten is held until the process ends. Its methods may be called concurrently.
type Lease struct {
	name   string
	hold   *hold
	turn   *keyqueue.Turn[string]
	since  time.Time // when the caller came, and then when it got the lock
	waited bool
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   atomic.Bool
}

func (l *Locker) newLease(name string, turn *keyqueue.Turn[string], parent context.Context, start time.Time) *Lease {
	return &Lease{name: name, turn: turn, since: start, ctx: parent}
}

// start makes the hold the lease's. It is locked.
func (l *Lease) start(h *hold) {
	l.hold, h.lease = h, l
	l.ctx, l.cancel = context.WithCancelCause(l.ctx)
}

// Name returns the name of the lock.
func (l *Lease) Name() string { return l.name }

// Context returns a context that is cancelled with the cause ErrLost as soon as the lease can't be trusted any more,
// and in any case before Until. Unlock cancels it too, with the cause context.Canceled. Work under the lock should use
// it, directly or as the parent of its own.
//
// It has the values of the context given to Lock or TryLock, but does not end with that: a caller may bound the time it
// waits for the lock. In WithLock and WithLocks it does.
//
// A process that is paused by its system or its runtime learns of the loss when it goes on, but the instructions that
// follow may come first. Only a Fence keeps their writes out.
func (l *Lease) Context() context.Context { return l.ctx }

// Until returns the time up to which the lock is held if it is not extended again. It moves on with each extension.
func (l *Lease) Until() time.Time {
	l.hold.mu.Lock()
	defer l.hold.mu.Unlock()
	return l.hold.until
}

// Unlock gives the lock back and lets the next one in. It does so even if ctx has ended, which gives it values only,
// and takes no longer than NodeTimeout.
//
// It returns ErrLost if the lease had been lost, or was unlocked before: then the work may have overlapped with that of
// another holder. It never touches a lock that somebody else has acquired since. If it returns any other error, too few
// nodes have confirmed the release, perhaps because their answers were lost, and those that did not are asked again in
// the background; the lock ends with its TTL at the latest. In all cases the lease is over.
func (l *Lease) Unlock(ctx context.Context) error {
	if l.over.Swap(true) {
		return &Error{Op: "unlock", Name: l.name, Err: ErrLost, Cause: errUnlocked, Total: len(l.hold.claims)}
	}
	l.cancel(context.Canceled)
	return l.hold.locker.unlock(ctx, l)
}

// valid reports whether the lease can be trusted at this moment.
func (l *Lease) valid() bool {
	l.hold.mu.Lock()
	defer l.hold.mu.Unlock()
	return !l.over.Load() && l.hold.lease == l && l.hold.state == live && l.hold.left(time.Now()) > 0
}

// confirm asks the nodes whether they still have the lease, and extends it. It returns ErrLost if they don't.
func (l *Lease) confirm(ctx context.Context) error {
	if !l.valid() {
		return &Error{Op: "extend", Name: l.name, Err: ErrLost, Total: len(l.hold.claims)}
	}
	if err := l.hold.renew(ctx); err != nil {
		return err
	}
	if !l.valid() {
		return &Error{Op: "extend", Name: l.name, Err: ErrLost, Total: len(l.hold.claims)}
	}
	return nil
}
