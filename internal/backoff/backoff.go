// Package backoff says how long to wait before trying again, and waits.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Policy returns how long to wait before the next try, after attempt tries have failed: 1 after the first. It must be
// safe for concurrent use. Zero or less means not to wait.
type Policy func(attempt int) time.Duration

// FullJitter returns the policy of that name: a random time, evenly spread between zero and a limit that starts at base
// and doubles with each attempt, up to the cap most. Callers that failed together don't meet again, and their number of
// tries stays the lowest of the policies compared in Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture
// Blog, 2015.
//
// A base or a cap of zero or less never waits.
func FullJitter(base, most time.Duration) Policy {
	return func(attempt int) time.Duration {
		limit := ceiling(base, most, attempt)
		if limit <= 0 {
			return 0
		}
		return time.Duration(rand.Uint64N(uint64(limit) + 1))
	}
}

// ceiling returns min(most, base * 2^(attempt-1)), or zero if either is negative, without overflow.
func ceiling(base, most time.Duration, attempt int) time.Duration {
	doublings := min(max(attempt, 1)-1, 63)
	if base <= 0 || most <= 0 {
		return 0
	}
	if base > most>>doublings {
		return most
	}
	return base << doublings
}

// Wait waits as long as the policy says after the given number of failed attempts. It returns ctx's error as soon as ctx
// ends, and never waits if it has ended already.
func (p Policy) Wait(ctx context.Context, attempt int) error {
	return Sleep(ctx, p(attempt))
}

// Sleep waits for d, or until ctx ends: then it returns ctx's error at once. A d of zero or less doesn't wait.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
