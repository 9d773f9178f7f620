package optimistic

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/txn"
)

// RetryOnVersionConflict calls fn until it returns something else than a conflict, and returns that. It is for
// hand-written SQL. Table.Modify does the same, with the SQL written for you.
//
// fn is one whole attempt: it reads, decides, and writes on the condition that nobody else wrote in between. If
// somebody did, it returns ErrVersionConflict. It may run many times, and at the same time for several callers. If it
// uses a transaction, it must begin and end the transaction itself.
//
// fn is called again after an error in which errors.Is finds ErrVersionConflict, and after an error by which the
// server asks for the whole transaction to be run again: a deadlock, a serialization failure, a failed certification
// on Galera, a busy SQLite. It is not called again after an error with nogap.ErrOutcomeUnknown or ErrRetriesExhausted
// in it: the write may stand, or a call inside has tried for long enough. It is not called again after a lock timeout
// either.
//
// Between two attempts there is a random pause, which grows exponentially, unless Backoff says otherwise. After
// MaxAttempts the error satisfies errors.Is for ErrVersionConflict and ErrRetriesExhausted, has a *ConflictError with
// the number of attempts inside, and wraps what fn returned last. If ctx ends, no further attempt starts, and the
// error satisfies errors.Is for ctx's error as well.
//
// RetryOnVersionConflict has no *sql.DB, so no nogap.Observer sees it. Observers see what fn calls.
func RetryOnVersionConflict(ctx context.Context, fn func(ctx context.Context) error, opts ...RetryOption) error {
	if fn == nil {
		return fail(errors.New("the function to retry is nil"))
	}
	p, err := newPolicy(opts)
	if err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return retryLost(ctx, p, ConflictError{}, p.Wait, func(int) error { return fn(ctx) })
}

// retryLost repeats an attempt that was lost to somebody else. When it gives up, it says so of row.
func retryLost(
	ctx context.Context, p txn.Policy, row ConflictError, pause func(ctx context.Context, lost int) error, attempt func(n int) error,
) error {
	giveUp := func(err error, attempts int) error { return gaveUp(row, err, attempts) }
	return txn.Retry{Policy: p, Again: isLost, Pause: pause, GiveUp: giveUp}.Do(ctx, attempt)
}

// isLost reports whether an attempt failed only because somebody else was faster.
func isLost(err error) bool {
	if errors.Is(err, ErrVersionConflict) {
		return !errors.Is(err, nogap.ErrOutcomeUnknown) && !errors.Is(err, ErrRetriesExhausted)
	}
	return nogap.Retryable(err)
}
