package txn

import (
	"context"
	"sync/atomic"
	"time"
)

// grace is how long a statement that writes, a COMMIT or a ROLLBACK may go on after its context has ended. To cut it short
// would trade an answer that is nearly always on its way for an outcome that nobody knows.
const grace = time.Second

// askAfter is how long after the end of the context the server is asked to cancel a statement. What waits for nobody has
// been answered by then.
const askAfter = 30 * time.Millisecond

// askAgain is how long the server has to act on a request to cancel.
const askAgain = 100 * time.Millisecond

type impatient struct{}

// Impatient returns a context whose end ends a statement without the grace.
func Impatient(ctx context.Context) context.Context { return context.WithValue(ctx, impatient{}, true) }

// overtime lets a call of a driver go on when the caller's context ends. It costs no goroutine before that.
type overtime struct {
	inner  context.Context    // the driver's
	cancel context.CancelFunc // ends it; nil if it does not end, because to cut the wire is enough
	forget func() bool
	state  atomic.Int32
	over   atomic.Pointer[chan struct{}] // closed when the call has returned; there is none before the caller's context ends
	wire   wire
	silent bool // the server is not asked to cancel the call
}

// The states of overtime.
const (
	running  int32 = iota
	asked          // the server has been asked to cancel the call, or is about to be
	cut            // the wire has been cut, or is about to be
	returned       // neither will be done any more
)

// allow begins the overtime of a call that goes over a wire. The call gets the inner context, and is followed by end.
func allow(ctx context.Context, w wire) *overtime {
	if ctx.Value(impatient{}) != nil {
		return allowNone(ctx, w)
	}
	o := &overtime{wire: w}
	return o.start(ctx, askAfter, grace)
}

// allowNone is allow for a call that is to end at once, by its server's answer if that comes soon.
func allowNone(ctx context.Context, w wire) *overtime {
	o := &overtime{wire: w}
	return o.start(ctx, 0, 0)
}

// allowSilently is allow for several calls of which none may be cancelled, and which have contexts of their own.
func allowSilently(ctx context.Context, w wire) *overtime {
	o := &overtime{wire: w, silent: true}
	return o.start(ctx, grace, grace)
}

func (o *overtime) start(ctx context.Context, after, patience time.Duration) *overtime {
	o.inner = context.WithoutCancel(ctx)
	if !o.wire.endsByCut() { // a context that can end costs the driver, and database/sql, a goroutine
		o.inner, o.cancel = context.WithCancel(o.inner)
	}
	o.forget = context.AfterFunc(ctx, func() {
		if o.begin(after, patience) {
			o.cut()
		}
	})
	return o
}

// begin waits for as long as patience says, and reports whether the call is still under way then. After a part of that it asks
// the server to cancel the call, and waits for the answer a little at least.
func (o *overtime) begin(after, patience time.Duration) (hangs bool) {
	until := time.Now().Add(patience)
	over := make(chan struct{})
	if o.over.Store(&over); o.state.Load() == returned {
		return false // end may have run before the Store, and then nobody closes over
	}
	if !o.lasts(after) {
		return false
	}
	how, ok := o.wire.canceller()
	ok = ok && !o.silent
	if least := time.Now().Add(2 * askAfter); ok && until.Before(least) {
		until = least
	}
	if ok && o.state.CompareAndSwap(running, asked) {
		ctx, cancel := context.WithDeadline(context.Background(), until)
		defer cancel()
		go o.ask(ctx, how) // which may hang: its connection may be one without deadlines too
	}
	return o.lasts(time.Until(until))
}

// ask asks the server to cancel the call, and again until ctx ends: of a request that comes before the statement, or between its
// preparation and its execution, the server makes nothing.
func (o *overtime) ask(ctx context.Context, how canceller) {
	for ctx.Err() == nil {
		how.ask(ctx, o)
		timer := time.NewTimer(askAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// cut ends the call, unless it has returned: the wire is somebody else's then.
func (o *overtime) cut() {
	if !o.state.CompareAndSwap(running, cut) && !o.state.CompareAndSwap(asked, cut) {
		return
	}
	if o.wire.cut() && !o.lasts(askAfter) {
		return
	}
	if o.cancel != nil {
		o.cancel()
	}
	o.wire.close()
}

// lasts waits, and reports whether the call is under way then.
func (o *overtime) lasts(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-*o.over.Load():
		return false
	case <-timer.C:
		return true
	}
}

// end says that the call has returned, and reports whether it was disturbed: the server may have been asked to cancel it, or
// the wire may have been cut. Where there is neither, its context has ended at most, and what comes after it is not disturbed: on
// SQLite the connection may be a database in memory.
func (o *overtime) end() (disturbed bool) {
	disturbed = o.state.Swap(returned) != running && o.wire.known()
	o.forget()
	if over := o.over.Load(); over != nil {
		close(*over)
	}
	if o.cancel != nil {
		o.cancel()
	}
	return disturbed
}
