package txn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// DefaultMaxAttempts and DefaultBackoff are those of the zero Policy. Fifty attempts under this backoff are about ten
// seconds: whoever wants to give up sooner has a context for it.
const DefaultMaxAttempts = 50

const longestDefaultWait = 250 * time.Millisecond

// DefaultBackoff waits up to 2 ms after the first failed attempt and up to 250 ms after the eighth.
var DefaultBackoff = backoff.FullJitter(2*time.Millisecond, longestDefaultWait)

// Policy says how often an attempt is repeated, and how long to wait in between. The zero Policy has the defaults.
type Policy struct {
	MaxAttempts int
	Backoff     backoff.Policy
}

// Last reports whether attempt n is the last one.
func (p Policy) Last(n int) bool {
	if p.MaxAttempts == 0 {
		p.MaxAttempts = DefaultMaxAttempts
	}
	return n >= p.MaxAttempts
}

// LongestWait returns the longest time that Wait waits: of a Backoff of the caller's what it says before the last attempt.
func (p Policy) LongestWait() time.Duration {
	if p.Backoff == nil {
		return longestDefaultWait
	}
	last := p.MaxAttempts - 1
	if p.MaxAttempts == 0 {
		last = DefaultMaxAttempts - 1
	}
	return p.Backoff(max(last, 1))
}

// Wait waits as long as the Backoff says after n failed attempts, or until ctx ends: then it returns ctx's error.
func (p Policy) Wait(ctx context.Context, n int) error {
	if p.Backoff == nil {
		p.Backoff = DefaultBackoff
	}
	return p.Backoff.Wait(ctx, n)
}

// Retry repeats attempts. Each of them must be a whole transaction. A field that is nil does what its comment says first.
type Retry struct {
	Policy
	// Again reports whether an attempt that failed may succeed if it is repeated: nogap.Retryable.
	Again func(error) bool
	// Pause waits between attempts, after n have failed: as the Policy says. It returns an error if ctx has ended.
	Pause func(ctx context.Context, n int) error
	// GiveUp returns the error for the last attempt's error: that error.
	GiveUp func(err error, attempts int) error
}

// Do calls attempt with the numbers from 1, until it succeeds, fails with an error that is not to be repeated, or is out
// of attempts, which is nogap.ErrRetriesExhausted. It waits in between, and returns as soon as ctx ends.
func (r Retry) Do(ctx context.Context, attempt func(n int) error) error {
	for n := 1; ; n++ {
		err := attempt(n)
		switch {
		case err == nil:
			return nil
		case !r.again(err):
			return JoinContext(ctx, err)
		case r.Last(n):
			return JoinContext(ctx, r.giveUp(err, n))
		case r.pause(ctx, n) != nil:
			return JoinContext(ctx, err)
		}
	}
}

func (r Retry) again(err error) bool {
	if r.Again != nil {
		return r.Again(err)
	}
	return nogap.Retryable(err)
}

func (r Retry) giveUp(err error, attempts int) error {
	if r.GiveUp != nil {
		return fmt.Errorf("%w: %w", nogap.ErrRetriesExhausted, r.GiveUp(err, attempts))
	}
	return fmt.Errorf("%w after %d attempts: %w", nogap.ErrRetriesExhausted, attempts, err)
}

func (r Retry) pause(ctx context.Context, n int) error {
	if r.Pause != nil {
		return r.Pause(ctx, n)
	}
	return r.Wait(ctx, n)
}

// ErrLocked is pessimistic.ErrLocked. It is here because a NoWait inside the callback of another package must not be taken
// for a lock timeout, for which the servers have the same codes.
var ErrLocked = errors.New("pessimistic: locked")

// LockTimeout returns err, with nogap.ErrLockTimeout if it says that the limit of a server for lock waits was exceeded.
// ErrLocked stays what it is.
func LockTimeout(err error) error {
	if err == nil || errors.Is(err, ErrLocked) {
		return err
	}
	if m := sqlerr.Of(err); m.Has(sqlerr.LockBusy) && !m.Has(sqlerr.Retry) && !errors.Is(err, nogap.ErrLockTimeout) {
		return fmt.Errorf("%w: %w", nogap.ErrLockTimeout, err)
	}
	return err
}
