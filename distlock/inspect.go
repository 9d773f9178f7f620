package distlock

import (
	"context"
	"time"

	"github.com/nogap-go/nogap/internal/quorum"
)

// Info is the state of a lock on the nodes at one moment. For a free lock it is the zero Info.
type Info struct {
	// Label is the Label of the Locker that holds the lock.
	Label string
	// Left is how long the lock is still held if its holder does not extend it. It is negative if the lock has no TTL and
	// never ends, because something else than a Locker has set its key.
	Left time.Duration
	// Waiting is how many processes wait for the lock, each with one caller or more. Callers in the process of the holder
	// are not counted.
	Waiting int
}

// Inspect returns who holds a lock, for an operator or a dashboard. It changes nothing. When it returns, the state may
// be another one already: to acquire a lock if it is free, call TryLock.
//
// A lock is held if a majority of the nodes has it for the same holder. An *Error is returned when too few nodes answered
// to say so, and when ctx ended; then it wraps ctx's error. ErrClosed is returned after Close. Inspect returns when ctx
// ends, and takes no longer than NodeTimeout. The commands get the values of ctx. It may be called concurrently.
func (l *Locker) Inspect(ctx context.Context, name string) (info Info, err error) {
	err = l.config.observed(ctx, "distlock.Inspect", func(ctx context.Context, _ *observation) error {
		if err := l.checkCall(ctx, "inspect", name); err != nil {
			return err
		}
		state, failed := l.nodes.Inspect(ctx, name)
		if failed != nil {
			return l.failure(ctx, "inspect", name, errTooFew, failed)
		}
		info = Info{Label: state.Label, Left: state.Left, Waiting: state.Waiting}
		return nil
	})
	return info, err
}

// Break ends a lock whoever holds it, for an operator who knows that the holder hangs. It asks the nodes for the holder,
// and deletes the lock where it is still that holder's, so that it never ends a later one. Goroutines of one process that
// pass the lock on among themselves are one holder. The next process that waits is woken.
//
// The holder is not asked. It loses its lease, and learns of it when it extends the lease the next time, within a third of
// its TTL: then it gets ErrLost. Until then it works on, at the same time as the next holder. Only a Fence stops its writes.
//
// ErrNotHeld is returned when nobody holds the lock. An *Error without it says that too few nodes have answered, or have
// confirmed that they deleted the lock: it may be held or not. Those that did not confirm it are asked again in the
// background. ErrClosed is returned after Close; nothing was deleted then.
//
// Break takes no longer than twice NodeTimeout. If ctx ends before the holder is known, Break returns at once with an error
// that wraps ctx's error, and nothing was deleted. After that, Break goes on to its end. The commands get the values of
// ctx. Break may be called concurrently: of two that find the same holder one may return ErrNotHeld.
func (l *Locker) Break(ctx context.Context, name string) error {
	return l.config.observed(ctx, "distlock.Break", func(ctx context.Context, ob *observation) error {
		if err := l.checkCall(ctx, "break", name); err != nil {
			return err
		}
		held, failed := l.nodes.Break(ctx, name, l.waiters.Wake)
		switch {
		case !held:
			return l.config.newError("break", name, ErrNotHeld, failed)
		case failed != nil:
			return l.failure(ctx, "break", name, errTooFew, failed)
		}
		return nil
	})
}

// checkCall looks at what the caller of an operation brings that does not acquire the lock.
func (l *Locker) checkCall(ctx context.Context, op, name string) error {
	if err := checkName(l.nodes, name); err != nil {
		return err
	}
	if l.background.Closed() {
		return l.config.newError(op, name, ErrClosed, nil)
	}
	if ctx.Err() != nil {
		return l.failure(ctx, op, name, errTooFew, nil)
	}
	return nil
}

// failure returns an *Error with the error of ctx, if that has ended.
func (l *Locker) failure(ctx context.Context, op, name string, reason error, failed *quorum.Tally) error {
	e := l.config.newError(op, name, reason, failed)
	e.Cause = ctx.Err()
	return e
}
