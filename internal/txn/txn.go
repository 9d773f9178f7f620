// Package txn runs a statement or a transaction and tells honestly what came of it: it was applied, it was not, or,
// wrapped in nogap.ErrOutcomeUnknown, nobody can know. Every package of nogap writes through it.
package txn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Do runs fn in a transaction on one connection and commits it.
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx has ended when fn returns, the transaction is rolled
// back; fn's error comes back as it is, joined with ctx's error if ctx has ended, and a panic goes on with its own
// value. fn is called at most once, and not at all if BEGIN failed. The connection is back in the pool, or closed, when
// Do returns. If the server does not answer COMMIT or ROLLBACK for a second beyond the end of ctx, Do does not wait longer
// for it: the connection is closed, or, with a driver whose network connection is not known, it is when the driver gives up.
//
// The error wraps nogap.ErrOutcomeUnknown if COMMIT may have been carried out, or if fn is known to have ended the
// transaction itself, by a statement. Any other error means that nothing was written, unless fn has called tx.Commit.
//
// The transaction does not end with ctx by itself, as one made by BeginTx(ctx) does: database/sql would roll it back
// from another goroutine, and pgx would cut a COMMIT short. The statements in fn use ctx.
func Do(ctx context.Context, db *sql.DB, opts *sql.TxOptions, fn func(tx *sql.Tx) error) error {
	return DoWith(ctx, db, Options{Tx: opts}, fn)
}

// Options says how DoWith opens its transaction and what it does behind it. A nil func does what Do does.
type Options struct {
	Tx *sql.TxOptions
	// Conn takes a connection from the pool, as db.Conn does.
	Conn func(ctx context.Context) (*sql.Conn, error)
	// Begin opens the transaction on the connection that Conn returned last, as its BeginTx does. Together with Conn it
	// lets a wrapper such as sqlx see both.
	Begin func(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (*sql.Tx, error)
	// After runs once the transaction is over, on its connection and whatever came of it, also if Begin failed: it undoes
	// what outlives a transaction, such as a setting of the session. If it fails, the connection is closed instead of
	// being used again; the outcome stays what it was. Its context does not end with that of DoWith, but with a time
	// limit. It runs before DoWith returns, except after the COMMIT or ROLLBACK that DoWith does not wait for.
	After func(ctx context.Context, conn *sql.Conn) error
	// Waits: the caller bounds the waits for SQLite's write lock itself, and changes its busy_timeout for that.
	Waits bool
}

// DoWith is Do with Options.
func DoWith(ctx context.Context, db *sql.DB, opts Options, fn func(tx *sql.Tx) error) (err error) {
	t, err := begin(ctx, db, opts)
	if err != nil {
		return err
	}
	committing, returned := false, false
	defer func() {
		switch {
		case !returned:
			t.abandon(ctx)
		case !committing:
			t.end(ctx, (*transaction).rollback)
			if t.endedByCallback(ctx, err) {
				err = fmt.Errorf("%w: %w: %w", nogap.ErrOutcomeUnknown, errEnded, err)
			}
		}
	}()
	err = fn(t.tx)
	returned = true
	if err != nil {
		return JoinContext(ctx, t.waitedFor(ctx, err))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	committing = true
	err = t.end(ctx, (*transaction).commit)
	return JoinContext(ctx, err)
}

// transaction is a transaction and the connection that it has to itself.
type transaction struct {
	conn Conn
	tx   *sql.Tx
	// cancel ends the context that the driver was given with BEGIN.
	cancel context.CancelFunc
	after  func(ctx context.Context, conn *sql.Conn) error
	begun  time.Time
	waits  bool // as Options.Waits
	wire   wire
	// overtime bounds what the driver does, as soon as there is a bound.
	overtime *overtime
	// over is set when the callback turns out to have called the Commit or Rollback of its tx, left when it has ended the
	// transaction by a statement, and none when SQLite says that there is no transaction to roll back.
	over, left, none atomic.Bool
	// watched: the driver has said that it is in a transaction, so it will say when it is in none.
	watched bool
}

var errEnded = errors.New("the callback ended the transaction itself, by COMMIT, by ROLLBACK or by a statement that " +
	"commits, such as CREATE TABLE on MySQL")

// endedByCallback reports whether the callback, which failed with err, has ended the transaction in a way that makes err
// say too little: what was written may stand. After tx.Rollback, which many callbacks call before they return an error,
// that is only so if err asks for another run, which could write twice.
func (t *transaction) endedByCallback(ctx context.Context, err error) bool {
	switch {
	case t.left.Load():
		return true
	case t.none.Load(): // SQLite rolls back by itself too, after some of its errors and if it is interrupted
		return !sqlerr.Of(err).Has(sqlerr.Server) && ctx.Err() == nil
	}
	return t.over.Load() && nogap.Retryable(err)
}

// begin opens a transaction. BEGIN writes nothing, so a connection that turns out to be dead is replaced.
func begin(ctx context.Context, db *sql.DB, opts Options) (*transaction, error) {
	if opts.Conn == nil {
		opts.Conn = db.Conn
	}
	if opts.Begin == nil {
		opts.Begin = func(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (*sql.Tx, error) {
			return conn.BeginTx(ctx, opts)
		}
	}
	var tried tries
	for {
		conn, err := connect(ctx, db, opts.Conn)
		if err != nil {
			return nil, err
		}
		t := &transaction{conn: Conn{conn: conn, db: db}, after: opts.After, begun: time.Now(), waits: opts.Waits}
		if t.wire = t.conn.wire(); t.wire.waitsOn() {
			t.bound(ctx)
		}
		if err = t.begin(ctx, opts); err == nil {
			return t, nil
		}
		err = t.waitedFor(ctx, err)
		lost := t.conn.lost(ctx, err)
		if lost {
			t.conn.discard()
			t.conn.suspectOthers(ctx)
		}
		t.release(ctx)
		if !lost || !tried.again(db) {
			return nil, JoinContext(ctx, explainBadConn(err))
		}
	}
}

func (t *transaction) begin(ctx context.Context, opts Options) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	tx, err := opts.Begin(life, t.conn.conn, opts.Tx)
	if !stop() && err == nil { // ctx ended meanwhile, and database/sql may be rolling back, which nobody hears of
		tx.Rollback()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		if !definite(err) { // mattn's driver says so too after a BEGIN that was carried out, if ctx has ended
			t.conn.clear(ctx)
		}
		return err
	}
	t.tx, t.cancel = tx, cancel
	t.watched, _ = t.conn.inTransaction()
	return nil
}

// waitedFor is Conn.waitedFor for an error of the transaction. What it has waited for besides locks counts too: which of its
// statements has failed, only the callback knows.
func (t *transaction) waitedFor(ctx context.Context, err error) error {
	if t.waits {
		return err
	}
	return t.conn.waitedFor(ctx, t.begun, err)
}

// isOut reports whether the connection is known to have left the transaction.
func (t *transaction) isOut() bool {
	if !t.watched {
		return false
	}
	_, out := t.conn.inTransaction()
	return out
}

// bound has what the driver does end when ctx has been over for grace. By then the transaction can only be rolled back, which
// the server does when the connection is closed, or its COMMIT is under way.
func (t *transaction) bound(ctx context.Context) {
	if t.overtime == nil && ctx.Done() != nil {
		t.overtime = allowSilently(ctx, t.wire)
	}
}

// unbound takes the bound away.
func (t *transaction) unbound() {
	if t.overtime != nil && t.overtime.end() {
		t.conn.spoiled = true
	}
	t.overtime = nil
}

// release gives the connection back, or closes it if what the transaction has left behind can't be undone.
func (t *transaction) release(ctx context.Context) {
	defer t.conn.Close()
	defer t.unbound()
	if t.after == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	if t.after(ctx, t.conn.conn) != nil {
		t.conn.discard()
	}
}

// end commits or rolls back, gives the connection back and returns what came of it. When ctx has been over for
// grace it stops waiting. A driver whose wire is known ends then. Of others that is not known, so the goroutine that waits for
// them outlives this call; it costs a tenth of a round trip.
func (t *transaction) end(ctx context.Context, how func(*transaction, context.Context) error) error {
	if ctx.Done() == nil || t.wire.endsByCut() {
		t.bound(ctx)
		return t.finish(ctx, how)
	}
	result, released := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(released)
		t.finish(ctx, func(t *transaction, ctx context.Context) error {
			err := how(t, ctx)
			result <- err
			return err
		})
	}()
	select {
	case <-released:
		return <-result
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-released:
	case <-timer.C:
		t.cancel()
	}
	select {
	case err := <-result: // also if it is only the release that takes so long
		return err
	default:
		return fmt.Errorf("%w: no answer to COMMIT", nogap.ErrOutcomeUnknown)
	}
}

// finish commits or rolls back, and gives the connection back.
func (t *transaction) finish(ctx context.Context, how func(*transaction, context.Context) error) error {
	defer t.cancel()
	defer t.release(ctx)
	return how(t, ctx)
}

// abandon rolls back after a panic or runtime.Goexit in the callback. It waits for that no longer than grace, because a
// panic in a driver, or in the Value method of an argument, can leave a lock of database/sql held, for which the rollback
// would wait for ever; the caller's panic must go on.
func (t *transaction) abandon(ctx context.Context) {
	done := make(chan struct{})
	over, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	t.unbound()
	t.bound(over)
	go func() {
		defer close(done)
		t.finish(ctx, (*transaction).rollback)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func (t *transaction) rollback(ctx context.Context) error {
	out := t.isOut()
	err := t.tx.Rollback()
	if errors.Is(err, sql.ErrTxDone) {
		t.over.Store(true)
		t.leave(ctx)
		return nil
	}
	t.left.Store(out)
	switch {
	case err == nil:
	case sqlerr.Of(err).Has(sqlerr.NoTransaction): // an SQLite that had already rolled back by itself
		t.none.Store(true)
	case definite(err):
		t.conn.clear(ctx) // a server that was told to kill the statement has not rolled back
	default:
		t.conn.discard()
	}
	return nil // the server rolls back what a closed connection leaves behind
}

// leave makes sure that no transaction is left where the callback has called the Commit or Rollback of its tx itself: what
// came of that, only the callback knows.
func (t *transaction) leave(ctx context.Context) {
	if !t.isOut() {
		t.conn.clear(ctx)
	}
}

func (t *transaction) commit(ctx context.Context) error {
	if t.isOut() {
		t.rollback(ctx)
		return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errEnded)
	}
	if t.watched && t.wire.ended() {
		t.rollback(ctx)
		if t.over.Load() { // the callback has called Commit
			return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errEnded)
		}
		t.conn.suspectOthers(ctx)
		return errEndedBefore
	}
	err := t.tx.Commit()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrTxDone):
		t.leave(ctx)
		fallthrough
	case sqlerr.Of(err).Has(sqlerr.NoTransaction):
		return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errEnded)
	}
	return t.conn.afterCommit(ctx, t.waitedFor(ctx, err))
}
