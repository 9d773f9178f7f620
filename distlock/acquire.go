package distlock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/keyqueue"
)

// lock waits for the turn in the process and then for the lock itself. The lease's context has the given parent.
func (l *Locker) lock(ctx context.Context, name string, parent context.Context) (*Lease, error) {
	if err := l.check(ctx, name); err != nil {
		return nil, err
	}
	if l.config.waitLimit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, l.config.waitLimit, errWaitLimit)
		defer cancel()
	}
	start := time.Now()
	turn, waited, err := l.awaitTurn(ctx, name)
	if err != nil {
		l.sweep(name)
		return nil, l.gaveUp(name, start, nil, l.ended(ctx))
	}
	lease := l.newLease(name, turn, parent, start)
	lease.waited = waited
	from := l.takePassed(name)
	if from.hold != nil {
		if now := time.Now(); from.hold.serve(lease, now) {
			l.acquired(lease, now, true)
			return lease, nil
		}
		l.discard(from)
	}
	h, err := l.contend(ctx, lease, from.woke)
	if err != nil {
		return nil, err
	}
	return l.begin(ctx, lease, h)
}

// awaitTurn waits for the caller's turn among those of this process. It reports whether it had to.
func (l *Locker) awaitTurn(ctx context.Context, name string) (turn *keyqueue.Turn[string], waited bool, err error) {
	if turn, ok := l.line.Try(name); ok {
		return turn, false, nil
	}
	turn, err = l.line.WaitOr(ctx, l.tasks.closing.Done(), name)
	return turn, true, err
}

// contend contends with other processes for the lock. If yield is set it lets the one that was just woken go first.
func (l *Locker) contend(ctx context.Context, lease *Lease, yield bool) (*hold, error) {
	var (
		key     = l.config.prefix + lease.name
		w       *waiter
		failure *Error
		reason  error
		broken  time.Time // since when too few nodes have been in order
		tries   int       // failed attempts since somebody was known to hold the lock
	)
	if yield {
		lease.waited = true
		w = l.waiters.add(l, key)
		w.yield(ctx)
	}
	for {
		// What a last try got it would have to give back, and its keys would look like a holder's to the others.
		if reason = l.ended(ctx); reason != nil {
			break
		}
		var h *hold
		if h, failure = l.attempt(ctx, lease.name); failure == nil {
			if w != nil {
				w.leave(true)
			}
			return h, nil
		}
		switch {
		case failure.answered() >= l.quorum():
			broken = time.Time{}
		case broken.IsZero():
			broken = time.Now()
		}
		if reason = l.ended(ctx); reason != nil {
			break
		}
		if !broken.IsZero() && time.Since(broken) >= l.config.ttl {
			reason = errBroken
			break
		}

		lease.waited = true
		if w == nil {
			w = l.waiters.add(l, key)
		}
		left, queued := w.join(ctx)
		var pause time.Duration
		switch {
		case queued && left < 0 && tries == 0:
			tries++ // released just before we were in the queue: nobody will wake us
		case queued && left >= 0 && len(failure.Nodes) == l.total() && failure.held() >= l.quorum():
			tries = 0
			pause = pollWait(left)
		default: // the vote was split, or nodes are down: nobody will wake us
			tries++
			pause = l.config.backoff(tries)
		}
		w.wait(ctx, pause)
	}
	// The caller need not wait for the clean-up, but the next one in the process must.
	if w == nil {
		lease.turn.Done()
		l.sweep(lease.name)
	} else {
		l.tasks.run(func() {
			w.leave(false)
			lease.turn.Done()
			l.sweep(lease.name)
		})
	}
	return nil, l.gaveUp(lease.name, lease.since, failure, reason)
}

// begin starts a lease on a hold that was just acquired.
func (l *Locker) begin(ctx context.Context, lease *Lease, h *hold) (*Lease, error) {
	reason := l.ended(ctx)
	now := time.Now()
	if reason == nil && !h.serve(lease, now) {
		reason = errors.New("lost again at once")
	}
	if reason != nil {
		l.discard(passed{hold: h})
		lease.turn.Done()
		return nil, l.gaveUp(lease.name, lease.since, nil, reason)
	}
	l.acquired(lease, now, false)
	return lease, nil
}

// unlock ends a lease: the lock goes to the next caller of this process or back to Redis.
func (l *Locker) unlock(ctx context.Context, lease *Lease) error {
	var (
		h    = lease.hold
		name = lease.name
		now  = time.Now()
		next passed
		err  error
	)
	if h.leave(now) && l.line.Waiting(name) > 0 && l.tasks.closing.Err() == nil {
		next.hold = h
	} else {
		next.woke, err = h.give(ctx)
		next.woke = next.woke && l.line.Waiting(name) > 0
	}
	left := next != passed{}
	if left {
		l.mu.Lock()
		l.passed[name] = next
		l.mu.Unlock()
	}
	lease.turn.Done()
	if left {
		l.sweep(name)
	}
	l.config.onEvent(Event{Kind: Released, Name: name, HandedOver: next.hold != nil, Duration: now.Sub(lease.since), Err: err})
	return err
}

// takePassed takes what the last turn has left. The caller has the turn.
func (l *Locker) takePassed(name string) passed {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.passed[name]
	if ok {
		delete(l.passed, name)
	}
	return p
}

// sweep gives back a lock that was passed on when nobody was left to take it. Whoever may have been the last to go
// looks behind: the one who passed it on, and those who gave up.
func (l *Locker) sweep(name string) {
	l.mu.Lock()
	_, left := l.passed[name]
	l.mu.Unlock()
	if !left {
		return
	}
	turn, free := l.line.Try(name)
	if !free {
		return // the one with the turn takes it
	}
	l.tasks.run(func() {
		l.discard(l.takePassed(name))
		turn.Done()
	})
}

// discard gives back what was passed on.
func (l *Locker) discard(p passed) {
	if p.hold != nil {
		p.hold.give(context.Background())
	}
}

// check looks at what every caller brings.
func (l *Locker) check(ctx context.Context, name string) error {
	if name == "" {
		return errors.New("distlock: the name of the lock is empty")
	}
	if l.slotted && !sameSlot(l.config.prefix+name) {
		return fmt.Errorf("distlock: the name %q has a closing brace but no {hash tag}, which a Redis Cluster needs", name)
	}
	if err := l.ended(ctx); err != nil {
		return l.notAcquired(name, nil, err)
	}
	return nil
}

// ended returns why a caller must not go on, or nil.
func (l *Locker) ended(ctx context.Context) error {
	if l.tasks.closing.Err() != nil {
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

// notAcquired returns the error of a caller that did not get the lock: that of the last attempt, if there was one.
func (l *Locker) notAcquired(name string, failure *Error, cause error) error {
	if failure == nil {
		failure = &Error{Op: "lock", Name: name, Err: ErrNotAcquired, Total: l.total()}
	}
	if cause != nil {
		failure.Cause = cause
	}
	return failure
}

func (l *Locker) gaveUp(name string, start time.Time, failure *Error, reason error) error {
	err := l.notAcquired(name, failure, reason)
	l.config.onEvent(Event{Kind: Waited, Name: name, Duration: time.Since(start), Err: err})
	return err
}

// acquired tells of a lease that begins.
func (l *Locker) acquired(lease *Lease, now time.Time, handedOver bool) {
	waited := now.Sub(lease.since)
	lease.since = now
	if lease.waited {
		l.config.onEvent(Event{Kind: Waited, Name: lease.name, HandedOver: handedOver, Duration: waited})
	}
	l.config.onEvent(Event{Kind: Acquired, Name: lease.name, HandedOver: handedOver, Duration: waited})
}

func (l *Locker) total() int { return len(l.nodes) }

// join joins two errors, of which either may be nil, and leaves a single one as it is.
func join(first, second error) error {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return errors.Join(first, second)
}
