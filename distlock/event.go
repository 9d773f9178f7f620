package distlock

import (
	"fmt"
	"time"
)

// EventKind says what happened to a lock.
type EventKind int

// The kinds of events.
const (
	// Acquired: a caller got the lock.
	Acquired EventKind = iota + 1
	// Waited: a caller that could not have the lock at once waited for it. It precedes Acquired, or stands alone with
	// the error with which the caller gave up.
	Waited
	// Extended: the lock was extended, or Err says why it was not this time.
	Extended
	// Lost: the holder can't trust its lease any more, and its context has been cancelled.
	Lost
	// Released: the holder gave the lock back, or Err says what was wrong.
	Released
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
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// Event is something that happened to a lock. See OnEvent.
type Event struct {
	Kind EventKind
	Name string // the lock
	// HandedOver is set if Acquired took the lock over from another goroutine of the process, and if Released left it
	// to one. Redis was not involved.
	HandedOver bool
	// Duration is how long a caller waited (Acquired, Waited), the lock was held (Released, Lost) or the extension
	// took (Extended).
	Duration time.Duration
	Err      error // what went wrong, if anything
}
