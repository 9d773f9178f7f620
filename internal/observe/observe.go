// Package observe tells the nogap.Observers of a *sql.DB, or of a distlock.Locker, what is done.
package observe

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/perdb"
)

// Classify names the outcome of the errors that only a user package knows. It returns "" for all others.
type Classify func(error) nogap.Outcome

// Op is an operation that is being observed. A nil *Op is one that nobody observes: its methods do nothing. It is not
// safe for concurrent use.
type Op struct {
	result   nogap.Result
	callback bool
}

// Attempt notes that attempt n begins, 1 for the first.
func (op *Op) Attempt(n int) {
	if op != nil {
		op.result.Attempts = n
	}
}

// Attempts returns the number of the last attempt.
func (op *Op) Attempts() int {
	if op == nil {
		return 0
	}
	return op.result.Attempts
}

// Waited adds to the time that the operation has waited in the process.
func (op *Op) Waited(d time.Duration) {
	if op != nil {
		op.result.Waited += d
	}
}

// WaitedInServer adds to the time that the operation has waited in the server.
func (op *Op) WaitedInServer(d time.Duration) {
	if op != nil {
		op.result.Waited += d
		op.result.WaitedInServer += d
	}
}

// Batched notes that so many calls were carried out together.
func (op *Op) Batched(calls int) {
	if op != nil {
		op.result.Batch = calls
	}
}

// CallbackFailed notes that the operation returns the error of its callback. The outcome is OutcomeError then, whatever
// the error is.
func (op *Op) CallbackFailed() {
	if op != nil {
		op.callback = true
	}
}

var errPanicked = errors.New("nogap: the operation panicked or called runtime.Goexit")

// Do calls f, with the context to go on with, and tells the observers of its beginning and its end, also if f panics. It
// returns what f returns. classify may be nil. Without observers it costs one atomic load.
func Do(ctx context.Context, observers *perdb.List, what nogap.Operation, classify Classify, f func(context.Context, *Op) error) error {
	all := observers.All()
	if len(all) == 0 {
		return f(ctx, nil)
	}
	op := new(Op)
	err := errPanicked
	for _, o := range all {
		var end func(nogap.Result)
		ctx, end = (*o).(nogap.Observer).Start(ctx, what)
		// The last one to be told of the beginning is the first to be told of the end, as spans are nested.
		defer func() {
			op.result.Err, op.result.Outcome = err, op.outcome(err, classify)
			op.result.Callback = op.callback && err != nil
			end(op.result)
		}()
	}
	err = f(ctx, op)
	return err
}

func (op *Op) outcome(err error, classify Classify) nogap.Outcome {
	switch {
	case err == nil:
		return nogap.OutcomeOK
	case op.callback:
		return nogap.OutcomeError
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		return nogap.OutcomeUnknown
	case errors.Is(err, nogap.ErrRetriesExhausted):
		return nogap.OutcomeExhausted
	}
	if classify != nil {
		if o := classify(err); o != "" {
			return o
		}
	}
	if errors.Is(err, sql.ErrNoRows) || errors.Is(err, nogap.ErrLockTimeout) {
		return nogap.OutcomeRefused
	}
	return nogap.OutcomeError
}
