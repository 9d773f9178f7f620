package distlock

import (
	"context"
	"errors"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/observe"
)

// observation is what the Observers of a Locker are told of one operation. The methods of a nil one do nothing.
type observation struct {
	op       *observe.Op
	attempts int
}

// attempt notes that the nodes are about to be asked for a lock, or to release it.
func (ob *observation) attempt() {
	if ob != nil {
		ob.attempts++
		ob.op.Attempt(ob.attempts)
	}
}

// waited adds to the time for which the operation has waited: for callers of this process, and for other processes.
func (ob *observation) waited(here, elsewhere time.Duration) {
	if ob != nil {
		ob.op.Waited(here)
		ob.op.WaitedInServer(elsewhere)
	}
}

// callbackReturned notes the error of the callback.
func (ob *observation) callbackReturned(err error) {
	if ob != nil && err != nil {
		ob.op.CallbackFailed()
	}
}

// observed carries out an operation, and tells the Observers of it.
func (c *config) observed(ctx context.Context, name string, f func(context.Context, *observation) error) error {
	observers := &c.observers
	if len(observers.All()) == 0 {
		return f(ctx, nil)
	}
	return observe.Do(ctx, observers, nogap.Operation{Name: name}, outcome, func(ctx context.Context, op *observe.Op) error {
		return f(ctx, &observation{op: op})
	})
}

// outcome names the outcome of the errors that only this package knows.
func outcome(err error) nogap.Outcome {
	switch {
	case errors.Is(err, ErrLost):
		return nogap.OutcomeError // also if another lock was not acquired because of that
	case errors.Is(err, ErrNotAcquired):
		return nogap.OutcomeRefused
	}
	return ""
}
