package atomic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic/internal/plan"
	"github.com/nogap-go/nogap/internal/combine"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/rowkey"
)

// Errors of a Coalescer, by which it refuses a call. Nothing was sent.
var (
	// ErrOverloaded is returned when as many callers as MaxWaiting allows wait for the same row already.
	ErrOverloaded = errors.New(prefix + "overloaded")
	// ErrClosed is returned when the Coalescer was closed before the call could be sent.
	ErrClosed = errors.New(prefix + "closed")
)

// Integer is the types of numbers that a Coalescer adds up by itself, as exactly as the server does.
type Integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Coalescer changes rows that many callers want at once. It is faster than a lock and a commit for each call: calls
// for the same row that arrive while a statement for it is under way are merged into the next statement. Put it in
// front of a Counter whose rows are hot. A single caller pays what a call on the Counter costs.
//
//	hot := atomic.Coalesce(stock)
//	left, err := hot.DecrementIfPositive(ctx, "sku-1")
//
// # Outcomes
//
// Every caller gets its own outcome and its own value after the commit, with the errors of the Counter. The result is
// the same as if the calls had been made one by one in the order of their arrival. So calls are granted until one
// does not fit, and smaller ones after it may still be granted. Refused calls cost no write: the row is read once for
// all of them. Other processes may change the row at any time.
//
// A batch is one statement for the server: a trigger fires once for it, and a CHECK sees its result. If the server
// refuses the batch, because of an overflow or a constraint, its calls are made one by one. With VersionColumn a
// batch counts the version up by one.
//
// # Many rows
//
// When 32 rows are under way, the batches of further rows share a transaction, up to 200 rows at a time: it locks and
// reads the rows, writes those that change by one UPDATE, and commits once. One such transaction is under way at a time,
// and the rows that come meanwhile share the next one. That goes on until no more than 16 rows are under way. Every caller gets its own outcome and value, as from a batch of its row alone.
//
// The transaction waits for no row. A row that another transaction has locked is left out, and so is one that does not
// exist: each of them gets a statement of its own. If the server refuses the transaction, or it fails in another way
// before its COMMIT, nothing was written, and each row gets a statement of its own. For 10 ms after that, and for up
// to 5 s if it happens again, rows share no transaction. If the outcome of the COMMIT is unknown, the callers whose
// row it changes get nogap.ErrOutcomeUnknown, and nothing is sent again.
//
// Rows share transactions on PostgreSQL, MySQL from 8.0 on and MariaDB from 10.6 on, if the values of the key are
// integers, text of a variable length or, on PostgreSQL, a uuid. On MySQL and MariaDB the key must be one column with a
// unique index. They do not if the table has a trigger for each row that is updated, since that may wait for something
// else than the row, or is a view or a foreign table. On PostgreSQL a trigger for each statement fires once for all rows
// of the transaction. On MySQL and MariaDB its isolation level is READ COMMITTED, so that no gaps are locked.
//
// # Errors and contexts
//
// The errors are those of [Counter], and two more. ErrOverloaded is returned when MaxWaiting callers wait for the
// row. ErrClosed is returned after Close. Nothing was sent then.
//
// If the context of a caller ends before its batch is sent, the caller gets the context's error, and its call changes
// nothing. If the batch is under way, the caller waits for the real outcome, for as long as Timeout allows the batch,
// and gets that instead of the context's error. If Timeout ended the batch, the error is context.DeadlineExceeded. If
// the outcome of a batch is unknown, all its callers get nogap.ErrOutcomeUnknown, and nothing is sent again.
//
// If a driver does not return within one more second, the callers get nogap.ErrOutcomeUnknown as well, and the next
// batch of the row is sent. Only the caller whose goroutine sent the batch goes on waiting, and holds its connection.
// If a driver panics, that caller panics, and the others get nogap.ErrOutcomeUnknown.
//
// # Cost
//
// There is no background goroutine. A caller that finds nobody at its row makes its call on the Counter, at once and
// under its own context, unless rows share transactions: then its call is one of a batch. Only if callers have just met
// at the row, it first lets the goroutines run that are ready to call, so that they join it. When it has finished, the
// first of the waiting callers sends the batch of all of them.
// Nothing is kept for a row that nobody wants.
//
// A row has one statement under way at a time. So it takes one connection however many callers it has, and rows share
// a small pool evenly. There is one exception: if a call on the Counter takes longer than Timeout while others wait,
// the next batch is sent without waiting for it.
//
// On MySQL and MariaDB the values of a batch are part of the text of its statement, and so of the logs and traces
// that have that text, if the values of the key are integers or texts of ASCII letters, digits and -_.:/@ only. Such
// a batch usually takes one round trip. With any other key all values are arguments, for which the driver needs a
// second round trip unless its interpolateParams is set.
//
// Calls with key values that only the driver understands, and not database/sql, are not merged.
//
// A Coalescer is safe for concurrent use. One for each column and process merges most.
type Coalescer[N Integer] struct {
	counter *Counter[N]
	group   *combine.Group[plan.Call, plan.Known]
	err     error // what is wrong with it
}

// Coalesce returns a Coalescer of a Counter. Every method of the Coalescer returns an error that says what is wrong,
// and nothing is sent, if the Counter is nil, is bound to a transaction or has the option Where, if N has a Value or
// Scan method, or if an option is invalid or given twice.
func Coalesce[N Integer](counter *Counter[N], opts ...CoalesceOption) *Coalescer[N] {
	c := &Coalescer[N]{counter: counter}
	bounds, err := newBounds(opts)
	switch {
	case err != nil:
	case counter == nil:
		err = errors.New("the Counter is nil")
	case counter.t.InTx():
		err = errors.New("the Counter is part of a transaction, in which nobody else's calls can be made")
	case counter.where != "":
		err = errors.New("the Counter has the option Where, and a merged statement would look at it once for all calls")
	case counter.number != dialect.Signed && counter.number != dialect.Unsigned:
		err = fmt.Errorf("the values of %T have a Value or Scan method, so the column may hold no integers", counter)
	}
	if err != nil {
		c.err = fail(fmt.Errorf("Coalesce: %w", err))
		return c
	}
	c.group = combine.New(&merger[N]{counter: counter}, bounds)
	return c
}

// DecrementIfPositive takes 1 if there is 1 to take, and returns what is left. Otherwise the error is
// ErrInsufficient. See [Coalescer] for the other errors and for the end of ctx.
func (c *Coalescer[N]) DecrementIfPositive(ctx context.Context, key ...any) (N, error) {
	return c.do(ctx, "atomic.DecrementIfPositive", plan.Decrement, 1, 0, key)
}

// Decrement takes n from the row if there is that much, and returns what is left. Otherwise the error is
// ErrInsufficient. The amount comes first and the key last: hot.Decrement(ctx, 3, "sku-1") takes 3 from sku-1. See
// [Coalescer] for the other errors and for the end of ctx.
func (c *Coalescer[N]) Decrement(ctx context.Context, n N, key ...any) (N, error) {
	return c.do(ctx, "atomic.Decrement", plan.Decrement, n, 0, key)
}

// Increment adds n to the row, and returns the sum. If the sum is more than the column's type holds, the error is
// ErrLimit. The amount comes first and the key last: hot.Increment(ctx, 3, "sku-1") adds 3 to sku-1. See [Coalescer]
// for the other errors and for the end of ctx.
func (c *Coalescer[N]) Increment(ctx context.Context, n N, key ...any) (N, error) {
	return c.do(ctx, "atomic.Increment", plan.Increment, n, 0, key)
}

// IncrementUpTo adds n to the row if the sum is at most limit, and returns the sum. Otherwise the error is ErrLimit.
// The amount comes first, then the limit, and the key last: hot.IncrementUpTo(ctx, 3, 100, "sku-1"). See [Coalescer]
// for the other errors and for the end of ctx.
func (c *Coalescer[N]) IncrementUpTo(ctx context.Context, n, limit N, key ...any) (N, error) {
	return c.do(ctx, "atomic.IncrementUpTo", plan.IncrementUpTo, n, limit, key)
}

// Close ends the Coalescer. Later calls return ErrClosed, and so do calls whose batch has not been sent. Close waits
// until the calls that are under way have ended. Their callers get the outcome. A batch ends at most one second after
// its Timeout. Close waits for that time at most, for a call made on the Counter too. If a call has not ended by
// then, Close returns an error that says so. If Coalesce was given something wrong, Close returns the error that says
// what.
//
// Close does not close the Counter's database. It may be called more than once, and concurrently.
func (c *Coalescer[N]) Close() error {
	if c.err != nil {
		return c.err
	}
	if err := c.group.Close(); err != nil {
		return fail(fmt.Errorf("Close: %s.%s: %w", c.counter.t.Name, c.counter.name, err))
	}
	return nil
}

// do makes a call, in a batch or on the Counter, and shows it to those who observe the database.
func (c *Coalescer[N]) do(ctx context.Context, name string, kind plan.Op, n, limit N, key Key) (value N, err error) {
	if c.err != nil {
		return value, c.err
	}
	err = c.counter.t.Operation(ctx, name, func(ctx context.Context, op *observe.Op) error {
		value, err = c.call(ctx, op, kind, n, limit, key)
		return err
	})
	return value, err
}

func (c *Coalescer[N]) call(ctx context.Context, op *observe.Op, kind plan.Op, n, limit N, key Key) (value N, err error) {
	var space [64]byte
	name, exact := rowkey.Append(space[:0], key)
	if !exact || n < 0 || c.counter.check(ctx, key) != nil {
		// A key that can't be compared, or an input for the Counter to refuse.
		return c.apart(ctx, op, kind, n, limit, key)
	}
	var came time.Time
	if op != nil {
		came = time.Now()
	}
	call, err := c.group.Do(ctx, name, key, plan.Call{Op: kind, N: plan.Of(n), Limit: plan.Of(limit)})
	if err != nil {
		return value, c.failed(key, err)
	}
	call.Trace.Tell(op, came)
	return c.outcome(call, key)
}

// apart makes a call on the Counter, next to the batches.
func (c *Coalescer[N]) apart(ctx context.Context, op *observe.Op, kind plan.Op, n, limit N, key Key) (value N, err error) {
	op.Batched(1)
	closed := c.group.Apart(func() { value, err = onCounter(ctx, op, c.counter, kind, n, limit, key) })
	if closed != nil {
		return value, c.failed(key, closed)
	}
	return value, err
}

// onCounter makes a call on the Counter.
func onCounter[N Integer](ctx context.Context, op *observe.Op, counter *Counter[N], kind plan.Op, n, limit N, key Key) (N, error) {
	switch kind {
	case plan.Decrement:
		return counter.change(ctx, op, key, decrement, n)
	case plan.Increment:
		return counter.change(ctx, op, key, increment, n)
	}
	return counter.change(ctx, op, key, incrementUpTo, n, limit)
}

// outcome returns what the call's own caller is told.
func (c *Coalescer[N]) outcome(call *plan.Call, key Key) (value N, err error) {
	switch {
	case call.Err != nil && !call.Apart:
		return value, c.failed(key, call.Err)
	case call.Err != nil && !errors.As(call.Err, new(*RefusedError)):
		return value, call.Err
	}
	value, err = plan.To[N](call.Level)
	switch {
	case err != nil:
		return value, c.failed(key, fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err))
	case call.Granted || call.Apart:
		return value, call.Err
	case call.Op == plan.Decrement:
		return value, c.counter.refused(key, ErrInsufficient, value)
	}
	return value, c.counter.refused(key, ErrLimit, value)
}

// failed gives an error the row that it is about, and the package's name for it.
func (c *Coalescer[N]) failed(key Key, err error) error {
	return c.counter.at(key, combine.Rename(err, ErrOverloaded, ErrClosed))
}
