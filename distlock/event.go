package distlock

import (
	"context"
	"fmt"
	"time"
)

// EventKind says what happened to a lock.
type EventKind int

// The kinds of events.
const (
	// Acquired: a caller acquired the lock.
	Acquired EventKind = iota + 1
	// Waited: a caller that could not acquire the lock at once has waited for it. Acquired follows, or Err says why the
	// caller gave up.
	Waited
	// Extended: the lock was extended, or Err says why this extension failed.
	Extended
	// Lost: the lease can't be trusted any more, and its context has been cancelled.
	Lost
	// Released: the holder has unlocked the lock, or Err says what went wrong.
	Released
	// NotQueued: a caller that waits could not take its place in the lock's queue on a node, or subscribe there to be
	// woken. Err says why. It takes a place on another node, or tries again by itself after a pause; see Backoff.
	NotQueued
)

// String returns the kind in lower case, such as "acquired".
func (k EventKind) String() string {
	switch k {
	case Acquired:
		return "acquired"
	case Waited:
		return "waited"
	case Extended:
		return "extended"
	case Lost:
		return "lost"
	case Released:
		return "released"
	case NotQueued:
		return "not queued"
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// Event is something that happened to a lock. See OnEvent.
type Event struct {
	Kind EventKind
	Name string // the lock
	// HandedOver is set if the lock was passed from one goroutine of the process to another, without Redis. It is set
	// in Waited and Acquired of the next holder, and in Released of the one before.
	HandedOver bool
	// Duration is how long the caller waited (Acquired, Waited), how long the lock was held (Released, Lost), or how
	// long the extension took (Extended).
	Duration time.Duration
	// Late is the time from the moment at which a lease could not be trusted any more to the moment at which its holder was
	// told (Lost). It is 0 if the holder was told earlier. It is long if the process was paused.
	Late time.Duration
	Err  error // what went wrong, if anything
}

// tell tells of an event.
func (c *config) tell(ctx context.Context, e Event) {
	for _, f := range c.onEvent {
		f(ctx, e)
	}
}
