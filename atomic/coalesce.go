package atomic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/table"
)

// Errors of a Coalescer. Nothing was sent.
var (
	// ErrOverloaded: as many callers as MaxWaiting allows wait for the same row already.
	ErrOverloaded = errors.New("overloaded")
	// ErrClosed: the Coalescer was closed before the call could be sent.
	ErrClosed = errors.New("closed")
)

// Coalescer changes rows that many callers want at once, faster than their lock and commit allow one by one: calls for
// the same row that arrive while a statement for it is under way are merged into the next one. It belongs in front of a
// Counter whose rows are hot; one caller alone costs what it costs with the Counter.
//
//	hot := atomic.Coalesce(stock)
//	left, err := hot.DecrementIfPositive(ctx, "sku-1")
//
// # Outcomes
//
// Every caller gets its own outcome and its own value, with the Counter's errors, after the commit: the same as if the
// calls had been made one by one in the order in which they arrived. So the calls that fit are granted until one does
// not, and smaller ones behind it still may. Calls that are refused cost no write: what the row holds is read once for
// all of them. Other processes may change the row at any time.
//
// A batch is one statement to the server: a trigger fires once for it, and a CHECK sees its result. If the server
// refuses that, with an overflow or a constraint, the batch's calls are made one by one.
//
// # Contexts and errors
//
// A caller whose context ends before its batch leaves gets the context's error and has taken nothing. One whose batch is
// under way waits for the real outcome, for as long as Timeout allows the batch, and gets that in place of the context's
// error. A batch that Timeout ended fails with context.DeadlineExceeded. If the outcome of a batch is unknown, all its
// callers get nogap.ErrOutcomeUnknown, and nothing is sent again.
//
// If a driver does not return within another second, the callers get nogap.ErrOutcomeUnknown as well, and the row goes
// on; only the caller in whose goroutine the batch was sent goes on waiting, and holds its connection. If a driver
// panics, so does that caller; the others get nogap.ErrOutcomeUnknown.
//
// # Cost
//
// There is no background goroutine. A caller that finds nobody at its row makes its call on the Counter, at once and under
// its own context; only where callers have just been crowding, it first lets those join it who are ready to. When it is
// done, the first of those that wait by then sends the batch of all. Nothing is kept for a row that nobody wants. A row
// has one statement under way at a time, so however many callers it has, it takes one connection, and rows share a small
// pool evenly. Only if a caller that makes its call on the Counter hangs, the row goes on without it, after Timeout.
//
// On MySQL and MariaDB the values of a batch stand in the text of its statement, and so in whatever logs or traces that,
// if its key consists of integers and of text of ASCII letters, digits and -_.:/@ alone. Then it usually takes one round
// trip. With any other key all values are arguments, which costs the driver a second one unless its interpolateParams is
// set.
//
// Calls with key values that only the driver understands, and not database/sql, are not merged.
//
// A Coalescer is safe for concurrent use. One per column and process merges most.
type Coalescer[N any] struct {
	counter *Counter[N]
	options coalesceOptions
	lines   lines
	sql     table.SQL[batchSQL]
	err     error // what is wrong with it
}

// Coalesce returns a Coalescer of a Counter of integers. If something is wrong (N is no integer type, the Counter is
// bound to a transaction, an option is invalid) every method returns an error that says so, and nothing is sent.
func Coalesce[N any](counter *Counter[N], opts ...CoalesceOption) *Coalescer[N] {
	c := &Coalescer[N]{counter: counter}
	if c.err = c.init(opts); c.err != nil {
		c.err = fail(fmt.Errorf("Coalesce: %w", c.err))
	}
	return c
}

func (c *Coalescer[N]) init(opts []CoalesceOption) (err error) {
	if c.options, err = newCoalesceOptions(opts); err != nil {
		return err
	}
	c.lines.maxWaiting, c.lines.patience = c.options.maxWaiting, c.options.timeout
	switch {
	case c.counter == nil:
		return errors.New("the Counter is nil")
	case c.counter.t.InTx():
		return errors.New("the Counter is part of a transaction, in which nobody else's calls can be made")
	case c.counter.number != dialect.Signed && c.counter.number != dialect.Unsigned:
		return fmt.Errorf("%T counts no integers, which are all that can be summed up exactly", c.counter)
	}
	return nil
}

// DecrementIfPositive takes 1 if there is 1 to take, and returns what is left. Otherwise the error is ErrInsufficient.
func (c *Coalescer[N]) DecrementIfPositive(ctx context.Context, key ...any) (N, error) {
	return c.do(ctx, wish{op: take, n: zeroOf[N]() + 1}, key)
}

// Decrement takes n if there is that much, and returns what is left. Otherwise the error is ErrInsufficient.
func (c *Coalescer[N]) Decrement(ctx context.Context, n N, key ...any) (N, error) {
	return c.do(ctx, wish{op: take, n: levelOf(n)}, key)
}

// Increment adds n, and returns the sum. If that is more than the column's type holds, the error is ErrLimit.
func (c *Coalescer[N]) Increment(ctx context.Context, n N, key ...any) (N, error) {
	return c.do(ctx, wish{op: add, n: levelOf(n)}, key)
}

// IncrementUpTo adds n if the sum is at most limit, and returns it. Otherwise the error is ErrLimit.
func (c *Coalescer[N]) IncrementUpTo(ctx context.Context, n, limit N, key ...any) (N, error) {
	return c.do(ctx, wish{op: addUpTo, n: levelOf(n), limit: levelOf(limit)}, key)
}

// Close makes later calls fail with ErrClosed, and those that wait for their batch to leave. Batches under way go on, and
// their callers get the outcome. Close does not wait for them. It does not close the Counter's database. It returns what
// was wrong with the Coalescer from the beginning, if anything, and may be called more than once.
func (c *Coalescer[N]) Close() error {
	c.lines.close()
	return c.err
}

// do makes a call, in a batch or on the Counter.
func (c *Coalescer[N]) do(ctx context.Context, w wish, key Key) (value N, err error) {
	if c.err != nil {
		return value, c.err
	}
	var space [64]byte
	name, exact := rowkey.Append(space[:0], key)
	if !exact || w.n < zeroOf[N]() || c.counter.t.CheckKey(key) != nil {
		// A key that can't be compared, or an input for the Counter to refuse.
		if c.lines.isClosed() {
			return value, c.failed(key, ErrClosed)
		}
		return c.single(ctx, w, key)
	}
	own := &call{wish: w, done: ctx.Done()}
	first, crowded, err := c.lines.enter(name, own)
	if err != nil {
		return value, c.failed(key, err)
	}
	woken := leads
	if !first {
		select {
		case woken = <-own.wake:
		case <-own.done:
			if c.lines.leave(own) {
				return value, c.failed(key, ctx.Err())
			}
			woken = <-own.wake // its batch is under way
		}
	}
	switch woken {
	case abandoned:
		return value, c.failed(key, errAbandoned)
	case leads:
		if crowded {
			c.lines.gather(own)
		}
		if err := c.lead(ctx, own, key, first); err != nil {
			return value, c.failed(key, err)
		}
	}
	return c.outcome(own, key)
}

// grace is how long a driver may go on after the end of a batch's context. Some don't heed it while they connect.
const grace = time.Second

var errAbandoned = fmt.Errorf("%w: the driver did not return in time: %w",
	nogap.ErrOutcomeUnknown, context.DeadlineExceeded)

// lead sends the batch of all who wait, on behalf of the first of them. The key is that one's, who waits for lead: the
// others have the same, but once they are abandoned they may change it. The error is that of a caller who gave up before.
func (c *Coalescer[N]) lead(ctx context.Context, own *call, key Key, first bool) error {
	if ctx.Err() != nil && c.lines.leave(own) {
		return ctx.Err()
	}
	t, calls, m := c.lines.take(own, c.options.maxBatch, first)
	if calls == nil {
		return nil
	}
	if first && len(calls) == 1 {
		defer func() { c.lines.pass(t, m) }() // also if the driver panics
		c.oneByOne(ctx, key, calls, &m)
		return nil
	}
	// The context that ends the batch is nobody's own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.timeout)
	defer cancel()
	b := &batch{calls: calls, leader: own}
	keep := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, func() {
			b.abandon()
			c.lines.pass(t, memory{})
		})
	})
	defer func() {
		keep()
		for _, left := range calls[b.settled:] { // none, unless the driver panicked
			left.err = fmt.Errorf("%w: the goroutine that sent the batch panicked", nogap.ErrOutcomeUnknown)
		}
		b.settled = len(calls)
		b.tell()
		c.lines.pass(t, m)
	}()
	for b.settled < len(calls) {
		b.tell()
		b.settled += c.settle(ctx, key, calls[b.settled:], &m)
	}
	return nil
}

// single makes a call on the Counter.
func (c *Coalescer[N]) single(ctx context.Context, w wish, key Key) (value N, err error) {
	n, err := fromLevel[N](w.n)
	if err != nil {
		return value, err
	}
	switch w.op {
	case take:
		return c.counter.Decrement(ctx, n, key...)
	case add:
		return c.counter.Increment(ctx, n, key...)
	}
	limit, err := fromLevel[N](w.limit)
	if err != nil {
		return value, err
	}
	return c.counter.IncrementUpTo(ctx, n, limit, key...)
}

// outcome returns what the call's own caller is told.
func (c *Coalescer[N]) outcome(own *call, key Key) (value N, err error) {
	if own.err != nil && !own.alone {
		return value, c.failed(key, own.err)
	}
	var refused *RefusedError
	if own.err != nil && !errors.As(own.err, &refused) {
		return value, own.err
	}
	if value, err = fromLevel[N](own.level); err != nil {
		return value, c.failed(key, fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err))
	}
	if own.granted || own.alone {
		return value, own.err
	}
	refusal := ErrLimit
	if own.op == take {
		refusal = ErrInsufficient
	}
	return value, c.counter.refused(key, refusal, value)
}

// failed gives an error the row that it is about.
func (c *Coalescer[N]) failed(key Key, err error) error {
	return c.counter.at(key, err)
}

// A CoalesceOption changes the bounds of a Coalescer. Of two of a kind the last one counts.
type CoalesceOption interface {
	applyCoalesce(*coalesceOptions) error
}

type coalesceOptions struct {
	maxBatch, maxWaiting int
	timeout              time.Duration
}

type coalesceOptionFunc func(*coalesceOptions) error

func (f coalesceOptionFunc) applyCoalesce(o *coalesceOptions) error { return f(o) }

// MaxBatch bounds how many calls are merged into one statement: 1000 unless set.
func MaxBatch(n int) CoalesceOption {
	return coalesceOptionFunc(func(o *coalesceOptions) error {
		o.maxBatch = n
		return atLeastOne("MaxBatch", n)
	})
}

// MaxWaiting bounds how many callers wait for one row, besides those whose statement is under way: 10 000 unless set.
// Further ones get ErrOverloaded at once.
func MaxWaiting(n int) CoalesceOption {
	return coalesceOptionFunc(func(o *coalesceOptions) error {
		o.maxWaiting = n
		return atLeastOne("MaxWaiting", n)
	})
}

// Timeout bounds how long a batch takes, waiting for a connection included: 5 seconds unless set. A caller that makes its
// call on the Counter, since it found nobody at its row, has its own context's time.
func Timeout(d time.Duration) CoalesceOption {
	return coalesceOptionFunc(func(o *coalesceOptions) error {
		o.timeout = d
		if d <= 0 {
			return fmt.Errorf("Timeout(%v) is not positive", d)
		}
		return nil
	})
}

func atLeastOne(option string, n int) error {
	if n < 1 {
		return fmt.Errorf("%s(%d) is less than 1", option, n)
	}
	return nil
}

func newCoalesceOptions(opts []CoalesceOption) (coalesceOptions, error) {
	o := coalesceOptions{maxBatch: 1000, maxWaiting: 10_000, timeout: 5 * time.Second}
	for i, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("option %d is nil", i)
		}
		if err := opt.applyCoalesce(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}
