package optimistic

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/txn"
)

// RetryOnVersionConflict calls fn until it returns something else than a conflict, and returns that. It is for
// hand-written SQL; Table.Modify is the same with the SQL written for you.
//
// fn is one whole attempt: it reads, decides, and writes with a guard on what it read, and returns ErrVersionConflict
// when the guard held the write back. It may run many times, and at once for several callers. If it uses a transaction
// then it must begin and end it itself.
//
// It is called again after an error in which errors.Is finds ErrVersionConflict, and after one with which the server asks
// for the whole transaction to be run again: a deadlock, a serialization failure, a Galera certification failure, a busy
// SQLite file. It is not called again after an error with nogap.ErrOutcomeUnknown or ErrRetriesExhausted in it: the write
// may stand, or somebody inside has tried for long enough.
//
// In between it waits, with full jitter and exponentially longer, unless Backoff says otherwise. After MaxAttempts it
// returns an error that satisfies errors.Is for ErrVersionConflict and ErrRetriesExhausted, holds a *ConflictError with
// the number of attempts, and wraps what fn returned last. If ctx ends, no further attempt starts, and the error
// satisfies errors.Is for ctx's error as well.
func RetryOnVersionConflict(ctx context.Context, fn func(ctx context.Context) error, opts ...RetryOption) error {
	if fn == nil {
		return errors.New("optimistic: the function to retry is nil")
	}
	p, err := newPolicy(opts)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.retry(ctx, ConflictError{}, func(int) error { return fn(ctx) }, p.wait)
}

// policy says how often an attempt is repeated, and how long to wait in between.
type policy struct {
	attempts int
	backoff  backoff.Policy
}

func (p policy) wait(ctx context.Context, lost int) error { return p.backoff.Wait(ctx, lost) }

// retry calls attempt with the numbers from 1 until it is not lost to somebody else, and pause after every lost one. When
// it gives up, it says so of the row.
func (p policy) retry(
	ctx context.Context, row ConflictError, attempt func(n int) error, pause func(ctx context.Context, lost int) error,
) error {
	for n := 1; ; n++ {
		err := attempt(n)
		switch {
		case err == nil:
			return nil
		case !isLost(err):
			return txn.JoinContext(ctx, err)
		case n == p.attempts:
			return txn.JoinContext(ctx, exhausted(row, err, n))
		}
		if pause(ctx, n) != nil {
			return txn.JoinContext(ctx, err)
		}
	}
}

// isLost reports whether an attempt failed only because somebody else was faster.
func isLost(err error) bool {
	if errors.Is(err, nogap.ErrOutcomeUnknown) || errors.Is(err, ErrRetriesExhausted) {
		return false
	}
	return errors.Is(err, ErrVersionConflict) || txn.Retryable(err)
}
