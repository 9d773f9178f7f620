package distlock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/quorum"
	"github.com/nogap-go/nogap/internal/waitqueue"
)

var (
	// errUnconfirmed is the reason of an Unlock that too few nodes have answered.
	errUnconfirmed = errors.New("distlock: release not confirmed, the lock ends with its TTL at the latest")

	errTooFew      = errors.New("too few nodes have answered")
	errNotExtended = errors.New("it was not extended in time")
	errMaxHold     = errors.New("MaxHold is over")
)

// ownership is a lock that this process has in Redis. It serves one lease after the other while the goroutines of the
// process pass it on. Its watchdog extends it until it is released.
type ownership struct {
	config      *config
	waiters     *waitqueue.Waiters
	name        string
	acquisition *quorum.Acquisition
	since       time.Time

	mu       sync.Mutex
	state    ownershipState
	until    time.Time
	lease    *Lease          // nil while the lock is passed on
	ctx      context.Context // of the lease, the last one if there is none now
	timer    *time.Timer
	renewing bool           // the watchdog waits for an extension
	events   []pendingEvent // to be told once it is unlocked: who hears of it may ask the lease
}

type ownershipState int

const (
	live ownershipState = iota
	lost
	released
)

type pendingEvent struct {
	ctx   context.Context
	event Event
}

// newOwnership starts the watchdog of a lock that was just acquired. ctx is that of the caller.
func newOwnership(ctx context.Context, l *Locker, name string, a *quorum.Acquisition, until time.Time) *ownership {
	o := &ownership{config: l.config, waiters: l.waiters, name: name, acquisition: a, since: time.Now(), until: until, ctx: ctx}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer = time.AfterFunc(o.config.renewalPause(), o.watch)
	return o
}

func (o *ownership) lock() { o.mu.Lock() }

func (o *ownership) unlock() { o.tellAll(o.unlockQuietly()) }

// unlockQuietly leaves it to the caller to tell the events.
func (o *ownership) unlockQuietly() []pendingEvent {
	events := o.events
	o.events = nil
	o.mu.Unlock()
	return events
}

func (o *ownership) tellAll(events []pendingEvent) {
	for _, e := range events {
		o.config.tell(e.ctx, e.event)
	}
}

// watch is the watchdog. Its timer stands for whatever comes first: the next extension, or the time at which the lease
// can't be trusted any more. It runs on the monotonic clock, and fires at once when a stopped process goes on too late.
func (o *ownership) watch() {
	o.lock()
	defer o.unlock()
	now := time.Now()
	left := o.left(now)
	if o.state != live || left <= 0 {
		o.lose(nil)
		return
	}
	o.timer.Reset(left) // the extension may hang
	if o.renewing {
		return
	}
	o.renewing = true
	ctx := context.WithoutCancel(o.ctx)
	o.acquisition.Renew(ctx, o.until, func(until time.Time, failed *quorum.Tally) func() {
		events := o.renewed(ctx, now, until, failed)
		return func() { o.tellAll(events) }
	})
}

// renewed is called with what came of the watchdog's extension, which was due at start. It returns the events to tell.
func (o *ownership) renewed(ctx context.Context, start, until time.Time, failed *quorum.Tally) (events []pendingEvent) {
	o.lock()
	defer func() { events = o.unlockQuietly() }()
	o.renewing = false
	if o.state == released {
		return nil
	}
	var next time.Duration
	if o.extended(ctx, start, until, failed) == nil {
		next = o.config.renewalPause() - time.Since(until.Add(-o.config.granted())) // from the extension, not from its answer
	} else {
		next = o.config.retryPause()
	}
	if o.state == live {
		o.timer.Reset(max(0, min(next, o.left(time.Now()))))
	}
	return nil
}

// left returns how long the lock can be trusted: a little less than the nodes grant it, so that the holder hears of the
// loss before the lock may be somebody else's. The ownership is locked.
func (o *ownership) left(now time.Time) time.Duration { return o.until.Sub(now) - o.config.margin() }

// extend extends the lock and so asks, too, whether it is still ours. It returns ErrLost, wrapped, if it is not, and
// another error if too few nodes have answered.
func (o *ownership) extend(ctx context.Context) error {
	o.lock()
	state := o.state
	o.unlock()
	if state != live {
		return o.config.newError("extend", o.name, ErrLost, nil)
	}
	start := time.Now()
	until, failed := o.acquisition.Extend(ctx)
	o.lock()
	defer o.unlock()
	return o.extended(ctx, start, until, failed)
}

// extended notes what came of an extension. Of two that were under way at once the later end counts: where the one that
// began later has reached a node, the key has at least its time. The ownership is locked.
func (o *ownership) extended(ctx context.Context, start, until time.Time, failed *quorum.Tally) (err error) {
	if o.state == live && failed == nil {
		if until.After(o.until) {
			o.until = until
		}
	} else {
		failure := o.config.newError("extend", o.name, errTooFew, failed)
		if o.state != live || failed.Lost() {
			failure.Err = ErrLost
			o.lose(failure)
		}
		err = failure
	}
	o.tell(ctx, Event{Kind: Extended, Name: o.name, Duration: time.Since(start), Err: err})
	return err
}

// overrun ends the lock because the lease has it for too long. The nodes keep it until its TTL is over, so that the
// holder has time to stop.
func (o *ownership) overrun(lease *Lease) {
	o.lock()
	defer o.unlock()
	if o.lease == lease {
		failure := o.config.newError("extend", o.name, ErrLost, nil)
		failure.Cause = errMaxHold
		o.lose(failure)
	}
}

// lose tells the holder that the lock is lost, and lets the next caller of this process try. The ownership is locked.
func (o *ownership) lose(why error) {
	if o.state != live {
		return
	}
	o.state = lost
	o.timer.Stop()
	if o.lease != nil {
		o.lease.cancel(ErrLost)
		o.lease.turn.Done() // other callers of this process need not wait for a holder that hangs
	}
	if why == nil {
		failure := o.config.newError("extend", o.name, ErrLost, nil)
		failure.Cause = errNotExtended
		why = failure
	}
	now := time.Now()
	o.tell(context.WithoutCancel(o.ctx), Event{
		Kind: Lost, Name: o.name, Duration: now.Sub(o.since), Late: max(0, now.Sub(o.until)), Err: why,
	})
}

// tell has an event told when the ownership is unlocked. It is locked.
func (o *ownership) tell(ctx context.Context, e Event) {
	o.events = append(o.events, pendingEvent{ctx, e})
}

// assign makes the lock the lease's. It reports false if the lock can't be trusted any more.
func (o *ownership) assign(lease *Lease, now time.Time) bool {
	o.lock()
	defer o.unlock()
	if o.state == live && o.left(now) <= 0 {
		o.lose(nil)
	}
	if o.state != live {
		return false
	}
	o.lease, o.ctx = lease, lease.ctx
	return true
}

// unassign takes the lock from its lease. more reports whether another lease may have it, and turn whether its caller
// still has the turn: a loss has ended it.
func (o *ownership) unassign(now time.Time) (more, turn bool) {
	o.lock()
	defer o.unlock()
	o.lease = nil
	more = o.state == live && o.left(now) > 0 && now.Sub(o.since) < o.config.handOver
	return more, o.state != lost
}

// serves reports whether the lock is the lease's and can be trusted at this moment.
func (o *ownership) serves(lease *Lease) bool {
	o.lock()
	defer o.unlock()
	return o.lease == lease && o.state == live && o.left(time.Now()) > 0
}

// heldUntil returns the time up to which the nodes have granted the lock.
func (o *ownership) heldUntil() time.Time {
	o.lock()
	defer o.unlock()
	return o.until
}

// release releases the lock in Redis. It reports whether another process was woken. The watchdog has stopped for good
// when it starts, and an extension that is still on its way finds no key with our value.
func (o *ownership) release(ctx context.Context) (woke bool, err error) {
	o.lock()
	if o.state == live && o.left(time.Now()) <= 0 {
		o.lose(nil)
	}
	wasLost := o.state == lost
	o.state = released
	o.timer.Stop()
	o.unlock()

	woke, failed := o.acquisition.Release(ctx, o.waiters.Wake)
	if wasLost || failed != nil {
		failure := o.config.newError("unlock", o.name, errUnconfirmed, failed)
		if wasLost || failed.Lost() {
			failure.Err = ErrLost
		}
		err = failure
	}
	return woke, err
}
