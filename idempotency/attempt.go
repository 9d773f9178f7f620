package idempotency

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/lockwait"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

type turn = keyqueue.Turn[place]

// commitPatience is how long an answer to COMMIT is waited for before its outcome is looked for under the key. A COMMIT that is
// still at work is not disturbed by that.
const commitPatience = 3 * time.Second

// maxVanished is how often a key may be neither inserted nor there: each time somebody else has deleted it in between.
const maxVanished = 20

var errFound = errors.New("the key is there") // rolls back

// attempt is one transaction.
type attempt struct {
	session     dialect.Lost
	number      int64
	began       bool // the callback was called
	finished    bool // the result is stored, and COMMIT follows
	callbackErr error
	bound       lockwait.Bound  // of the INSERT's wait
	settings    *lockwait.Undos // for that, as they were
	commit      *time.Timer
	giveUp      context.CancelFunc
}

// try runs one attempt.
func (c *call) try(ctx context.Context) error {
	if c.lost != nil {
		c.s.end(ctx, c.q.server, c.lost)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	settings := new(lockwait.Undos) // of this attempt: what undoes them may run when the next one has begun
	c.attempt = attempt{number: newNumber(), giveUp: cancel, settings: settings}
	a := callback.Attempt{Enter: c.enter}
	if !c.q.server.LocalSettings { // elsewhere they end with the transaction
		a.After = func(ctx context.Context, conn *sql.Conn) error { return settings.Undo(ctx, conn) }
	}
	err := c.tx.Once(ctx, a)
	if c.commit != nil {
		c.commit.Stop()
	}
	switch {
	case c.done:
		return errFound
	case err == nil:
		c.lost = nil
	case c.finished && errors.Is(err, nogap.ErrOutcomeUnknown):
		c.lost = &lostTry{c.number, c.session}
		c.failures = 0
		c.await()
	case c.lost != nil:
		c.failures++
	}
	return err
}

// enter inserts the key, or finds its row.
func (c *call) enter(ctx context.Context, tx *sqlx.Tx) error {
	r := txn.In(tx)
	noWait := c.config.noWait && c.lost == nil && c.q.server.RowLocks
	if noWait && c.q.probe.Text != "" {
		if e, found, err := read(ctx, r, c.q.probe, c.row); err != nil || found {
			return c.met(e, err, noWait)
		}
	}
	if err := c.limitWait(ctx, tx, noWait); err != nil {
		return err
	}
	c.session.Begun = time.Now()
	inserted, err := c.s.insert(ctx, r, c.q, c.bound.Prefix, newEntry{c.row, c.config.fingerprint, c.number}, &c.session)
	if err != nil {
		return c.met(nil, err, noWait)
	}
	if inserted {
		if err := c.settle(ctx, tx); err != nil {
			return err
		}
		return c.settings.Undo(ctx, tx)
	}
	e, found, err := read(ctx, r, c.q.lookup, c.row)
	if err == nil && !found {
		err = errVanished
	}
	return c.met(e, err, false)
}

// settle notes that the lost try has come to nothing, since its key could be inserted again. Where others write on other nodes that
// says only the COMMIT: the lost one may still arrive from the node on which it was.
func (c *call) settle(ctx context.Context, tx *sqlx.Tx) error {
	if c.lost == nil {
		return nil
	}
	open, err := txn.HasOtherWriters(ctx, c.s.t.DB(), tx, c.q.server)
	if err == nil && !open {
		c.lost = nil
	}
	return err
}

// met ends an attempt that has met the key's row, or an error on its way there.
func (c *call) met(e *entry, err error, noWait bool) error {
	switch m := sqlerr.Of(err); {
	case err == nil:
		c.found(e)
		return errFound
	case noWait && (m.Has(sqlerr.LockBusy) || m.Has(sqlerr.Retry) || m.Has(sqlerr.Canceled) && ctxAlive(err)):
		return fmt.Errorf("%w: %w", ErrInProgress, err)
	}
	return c.s.withSchema(c.q.server, c.bound.Explain(err))
}

func ctxAlive(err error) bool {
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// limitWait makes the INSERT wait no longer than NoWait or Timeout say.
func (c *call) limitWait(ctx context.Context, tx *sqlx.Tx, noWait bool) (err error) {
	var left time.Duration
	switch {
	case noWait:
	case c.waits.IsZero():
		return nil
	default:
		if left = time.Until(c.waits); left <= 0 {
			return fmt.Errorf("%w: another call with the key is running", nogap.ErrLockTimeout)
		}
	}
	c.bound, err = lockwait.Limit(ctx, tx, c.q.server, left, c.settings)
	return err
}

// callback runs the caller's callback and stores its result.
func (c *call) callback(ctx context.Context, tx *sqlx.Tx) error {
	c.began = true
	data, failed, err := c.work(ctx, tx)
	if failed != nil {
		c.callbackErr = failed
		return failed
	}
	if err != nil {
		return err
	}
	if err := finish(ctx, txn.In(tx), c.q, c.row, data, c.s.shape); err != nil {
		return err
	}
	c.result, c.finished, c.session.At = data, true, time.Now()
	c.commit = time.AfterFunc(commitPatience, c.giveUp)
	return nil
}

// again reports whether the call starts again after an attempt that failed.
func (c *call) again(err error) bool {
	switch {
	case c.done, txn.PoolClosed(err):
		return false
	case c.callbackErr != nil:
		return c.lostAgain(err)
	case c.finished && c.lost != nil, c.finished && !sqlerr.Of(err).Has(sqlerr.Server):
		return true // what the COMMIT did, the key tells
	case errors.Is(err, errVanished):
		c.vanished++
		return c.vanished < maxVanished
	case errors.Is(err, ErrInProgress), errors.Is(err, txn.ErrLocked):
		return false
	case c.began || !c.q.server.RowLocks && c.lost == nil:
		return c.lostAgain(err)
	case nogap.Retryable(err):
		return true // a deadlock among duplicates, none of which has run its callback
	}
	return c.lost != nil && c.mayRecover(err)
}

// lostAgain counts an attempt that has lost against others.
func (c *call) lostAgain(err error) bool {
	if !nogap.Retryable(err) || errors.Is(err, txn.ErrLocked) {
		return false
	}
	c.lostTo++
	policy := c.config.Policy
	return !policy.Last(c.lostTo)
}

// mayRecover reports whether what the server says while the outcome of a COMMIT is unknown may pass: what comes from the
// connection, a wait for the first try, and, for a while, everything else.
func (c *call) mayRecover(err error) bool {
	m := sqlerr.Of(err)
	return errors.Is(err, nogap.ErrLockTimeout) && c.waits.IsZero() || !m.Has(sqlerr.Server) || m.Has(sqlerr.Ambiguous) ||
		m.Has(sqlerr.NotReady) || c.failures < txn.DefaultMaxAttempts && !errors.Is(err, nogap.ErrLockTimeout)
}
