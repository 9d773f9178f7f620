package idempotency

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// work is a callback, and the JSON of its result. failed is the callback's own error.
type work func(ctx context.Context, tx *sqlx.Tx) (data []byte, failed, err error)

// do is Do, whose result is JSON.
func (s *store) do(ctx context.Context, key string, config doConfig, w work) (data []byte, replayed bool, err error) {
	if holding.In(ctx, s.t.DB()) {
		return nil, false, fail(errNested)
	}
	if err := checkKey(key); err != nil {
		return nil, false, fail(err)
	}
	c := &call{s: s, config: config, work: w, row: s.row(key), at: place{s.t.Name.String(), s.scope, key}}
	err = s.t.Operation(ctx, "idempotency.Do", func(ctx context.Context, op *observe.Op) error {
		c.op = op
		return c.run(ctx)
	})
	if err != nil {
		return nil, false, err
	}
	return c.result, c.replayed, nil
}

// call is one call of Do.
type call struct {
	s      *store
	q      *statements
	config doConfig
	work   work
	row    []any // scope and key
	at     place
	op     *observe.Op
	tx     callback.Call

	waits time.Time // when Timeout ends the wait for others; zero is never
	lost  *lostTry  // whose outcome is not known yet

	// What has happened in all attempts.
	lostTo, // times the callback's transaction has lost
	vanished, // times the key was neither inserted nor there
	failures int // times the server refused while a COMMIT's outcome was unknown

	attempt // the last one

	result   []byte
	replayed bool
	failed   error // why a stored result is not handed out
	done     bool  // one of these is set
}

// run waits for the calls of this process that have the key, and runs the attempts.
func (c *call) run(ctx context.Context) error {
	q, err := c.s.statements(ctx)
	if err != nil {
		return fail(err)
	}
	c.q = q
	c.await()
	turn, err := c.turn(ctx)
	if err != nil {
		return fail(err)
	}
	defer turn.Done()
	c.lost = c.s.calls.lost.take(c.at)
	if c.lost == nil && (!turn.Immediate() || c.s.calls.recent.has(c.at)) { // the result may be there
		if err := c.look(ctx); err != nil || c.done {
			return fail(errors.Join(err, c.failed))
		}
	}
	c.tx = callback.Call{
		Options: c.config.Options, DB: c.s.t.DB(), Server: q.server, Op: c.op, Callback: c.callback,
		Exclusive: true, Locks: []holding.Lock{c.s.t.Lock(c.row)},
	}
	policy := c.config.Policy
	policy.MaxAttempts = math.MaxInt // again counts
	err = txn.Retry{Policy: policy, Again: c.again, Pause: c.pause}.Do(ctx, func(n int) error {
		c.op.Attempt(n)
		return c.try(ctx)
	})
	return c.outcome(err)
}

// await begins the wait for others.
func (c *call) await() {
	if c.config.timeout > 0 {
		c.waits = time.Now().Add(c.config.timeout)
	}
}

// turn waits for the calls of this process that have the key, without a connection.
func (c *call) turn(ctx context.Context) (*turn, error) {
	queue := &c.s.calls.queue
	if c.config.noWait {
		if t, ok := queue.Try(c.at); ok {
			return t, nil
		}
		return nil, ErrInProgress
	}
	limited, cancel := ctx, func() {}
	if !c.waits.IsZero() {
		limited, cancel = context.WithDeadline(ctx, c.waits)
	}
	defer cancel()
	start := time.Now()
	t, err := queue.Wait(limited, c.at)
	if err != nil || !t.Immediate() {
		c.op.Waited(time.Since(start))
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: another call of this process with the key is running", nogap.ErrLockTimeout)
	}
	return t, err
}

// look reads the key's row without a transaction.
func (c *call) look(ctx context.Context) error {
	return c.s.t.Statement(ctx, nil, func(r txn.Runner) error {
		e, found, err := read(ctx, r, c.q.lookup, c.row)
		if found {
			c.found(e)
		}
		return err
	})
}

// found ends the call with a row that is stored.
func (c *call) found(e *entry) {
	c.result, c.failed = c.s.stored(e, c.config.fingerprint)
	c.replayed = c.lost == nil || c.lost.try != e.try
	c.done = true
	c.s.calls.recent.add(c.at)
	if !errors.Is(c.failed, errNoResult) { // else the callback has ended the lost transaction by itself
		c.lost = nil
	}
}

// pause waits for the next attempt.
func (c *call) pause(ctx context.Context, n int) error {
	if c.lost != nil && c.failures == 0 {
		return ctx.Err()
	}
	return c.config.Policy.Wait(ctx, min(n, 20))
}

// outcome returns the error of the call for that of its last attempt.
func (c *call) outcome(err error) error {
	switch {
	case c.done:
		err = fail(c.failed)
	case err == nil:
		c.s.calls.recent.add(c.at)
		return nil
	case c.lostTo > 0 && c.config.Policy.Last(c.lostTo) && nogap.Retryable(err):
		err = fail(fmt.Errorf("%w after %d attempts: %w", nogap.ErrRetriesExhausted, c.lostTo, err))
	case c.callbackErr != nil:
		c.op.CallbackFailed()
	default:
		err = fail(err)
	}
	if c.lost == nil || err == nil {
		return err
	}
	c.s.calls.lost.put(c.at, c.lost)
	if !errors.Is(err, nogap.ErrOutcomeUnknown) {
		err = fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err)
	}
	return err
}
