package transaction

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/perdb"
)

var (
	errNoDB       = errors.New("db is nil")
	errNoCallback = errors.New("the callback is nil")
	errNested     = errors.New("Run is called in a callback of nogap that already has a transaction on this database, which a " +
		"second one may wait for for ever; use the callback's tx")
)

// Run runs fn in a transaction and commits it. All that fn does must go through tx: its own statements, and the calls
// of other packages of nogap with WithTx(tx) or LockRow.
//
// # The callback
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx ends, the transaction is rolled back. fn's error
// is returned as it is.
//
// There is one exception: an error by which the server says that the transaction lost against another one (see
// [nogap.Retryable]), whether it comes from fn or from COMMIT. Then fn is run again in a new transaction, with the
// data as they are now. So fn may run more than once, and must change nothing but the database. It must return the
// errors of tx, even if it could go on without that statement: MySQL has rolled back the whole transaction when it
// reports a deadlock.
//
// The ctx that fn is given comes from the caller's, and knows which transaction is open. A call on db that is given
// it, and would wait for what nogap has written in tx, returns an error at once. So does Run itself. Run on another
// *sql.DB is allowed: those are two transactions, of which one can be committed without the other. tx must not be
// used after fn has returned.
//
// # Errors and contexts
//
//   - fn's own error is returned as it is.
//   - nogap.ErrRetriesExhausted is returned when MaxAttempts transactions lost against others.
//   - nogap.ErrLockTimeout is returned when a statement of fn waited longer for a lock than the server allows. fn is not
//     run again.
//   - nogap.ErrOutcomeUnknown is returned when COMMIT may have been carried out although its answer did not come.
//
// After any error but the last nothing was written. When ctx ends, Run cancels a statement that is under way, rolls
// back and returns ctx's error. It waits for a COMMIT that is under way for up to one second, and returns nil if that
// succeeds.
func Run(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sqlx.Tx) error, opts ...Option) error {
	c, err := configure(opts)
	switch {
	case err != nil:
	case db == nil:
		err = errNoDB
	case fn == nil:
		err = errNoCallback
	case holding.In(ctx, db):
		err = errNested
	}
	if err != nil {
		return fail(err)
	}
	observers, what := perdb.Observers.Of(db, nil), nogap.Operation{Name: "transaction.Run"}
	return observe.Do(ctx, observers, what, nil, func(ctx context.Context, op *observe.Op) error {
		server, err := c.Server(ctx, db)
		if err != nil {
			return fail(err)
		}
		losers := losers{db: db, policy: c.Policy, op: op}
		defer losers.done()
		call := callback.Call{
			Options: c.Options, DB: db, Server: server, Op: op, Pause: losers.pause, ReadOnly: c.readOnly, Callback: fn,
		}
		return call.Run(ctx, func() callback.Attempt {
			losers.begin()
			return attempt(server, c.readOnly)
		})
	})
}

func attempt(s dialect.Server, readOnly bool) callback.Attempt {
	a := callback.Attempt{Failed: fail}
	if !s.RowLocks && !readOnly {
		a.Enter = func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, s.WriteLock(dialect.Ident{}))
			return err
		}
	}
	return a
}

// fail names the package in an error that does not come from the callback.
func fail(err error) error {
	return fmt.Errorf("transaction: %w", err)
}
