// Package callback runs a callback of the caller's in a transaction: what pessimistic's callbacks, transaction.Run and
// others have in common. A transaction that the server has undone is run again, and the calls that the callback makes know
// what its transaction holds.
package callback

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// Func is a callback. It may be called several times, each time in another transaction.
type Func func(ctx context.Context, tx *sqlx.Tx) error

// Call is one call of a user package.
type Call struct {
	Options
	DB     *sql.DB
	Server dialect.Server
	Op     *observe.Op
	// Ready finds out what else must be known before the first transaction. It may be called again if it fails. Nil is
	// nothing.
	Ready func(ctx context.Context) error
	// Pause waits between two attempts, after n have failed. Nil waits as the Policy says.
	Pause func(ctx context.Context, n int) error
	// Again reports whether an attempt is repeated that failed for another reason than the server's. Nil repeats none.
	Again func(err error) bool

	ReadOnly bool
	// Callback gets a context that knows what is locked. So does Before.
	Callback Func

	// Locks are what the transaction holds when the callback begins.
	Locks []holding.Lock
	// Exclusive says that they exclude readers that lock, too.
	Exclusive bool

	ready   bool
	refused error // what a callback returned in the last attempt
}

// Attempt is what one attempt does around Before and the callback. A nil func does nothing.
type Attempt struct {
	// Begin calls open, which sends BEGIN on the connection.
	Begin func(ctx context.Context, conn *sql.Conn, open func() error) error
	// Enter runs after Before, with the context that the callback gets. It takes the locks.
	Enter Func
	// After undoes what outlives the transaction; see txn.Options.
	After func(ctx context.Context, conn *sql.Conn) error
	// Waits: see txn.Options.
	Waits bool
	// Failed returns the error for one that neither Before nor the callback returned, such as that of COMMIT.
	Failed func(error) error
}

// Run runs the callback in a transaction and commits it. It starts again, with another transaction and the Attempt that
// next returns, after what the server has undone.
//
// The error of a callback comes back as it is, and any other one as Failed returns it. One that says that a statement has
// waited too long for a lock is wrapped in nogap.ErrLockTimeout.
func (c *Call) Run(ctx context.Context, next func() Attempt) error {
	err := txn.Retry{Policy: c.Policy, Again: c.again, Pause: c.Pause}.Do(ctx, func(n int) error {
		c.Op.Attempt(n)
		return c.Once(ctx, next())
	})
	if c.refused != nil && !errors.Is(err, nogap.ErrRetriesExhausted) {
		c.Op.CallbackFailed()
	}
	return err
}

// again reports whether an attempt that failed is repeated. SQLite has one code for a lock that nobody waits for and for
// others.
func (c *Call) again(err error) bool {
	return nogap.Retryable(err) && !errors.Is(err, txn.ErrLocked) || c.Again != nil && c.Again(err)
}

// Once runs the callback in one transaction and commits it, for those who decide by themselves what starts again. The error
// is as that of Run.
func (c *Call) Once(ctx context.Context, a Attempt) error {
	c.refused = nil
	err := c.getReady(ctx)
	if err == nil {
		err = c.transaction(ctx, a, func(tx *sqlx.Tx) error { return c.callbacks(ctx, tx, a.Enter) })
	}
	err = txn.LockTimeout(err)
	if err != nil && c.refused == nil && a.Failed != nil {
		return a.Failed(err)
	}
	return err
}

// getReady finds out, once, what must be known before the first transaction: what a transaction would lose on this server,
// and what its session would not keep. It asks over a connection of its own, so that no transaction sees the database as it
// was at that moment.
func (c *Call) getReady(ctx context.Context) error {
	if c.ready {
		return nil
	}
	err := txn.CheckAborts(ctx, c.DB, c.Server)
	if err == nil {
		err = table.CheckSession(ctx, c.DB, c.Server)
	}
	if err == nil && c.Ready != nil {
		err = c.Ready(ctx)
	}
	c.ready = err == nil
	return err
}

// callbacks runs Before, enter and the callback. What the callbacks call on the pool must not wait for the locks, which
// others of this process may not have from now on, although enter takes them later.
func (c *Call) callbacks(ctx context.Context, tx *sqlx.Tx, enter Func) error {
	begin := holding.Begin
	if c.ReadOnly {
		begin = holding.BeginReading
	}
	inside, end := begin(ctx, c.DB, tx.Tx, c.Server, c.Exclusive, c.Locks)
	defer end()
	if c.Before != nil {
		if c.refused = c.Before(inside, tx); c.refused != nil {
			return c.refused
		}
	}
	if enter != nil {
		if err := enter(inside, tx); err != nil {
			return err
		}
	}
	c.refused = c.Callback(inside, tx)
	return c.refused
}

// transaction runs fn in a transaction and commits it. It leaves nothing of it behind in the session.
func (c *Call) transaction(ctx context.Context, a Attempt, fn func(tx *sqlx.Tx) error) error {
	// sqlx hands out a transaction that knows its driver's name, by which it chooses placeholders, only from a connection
	// of its own.
	var (
		db   = sqlx.NewDb(c.DB, c.Server.BindName)
		conn *sqlx.Conn
		tx   *sqlx.Tx
	)
	return txn.DoWith(ctx, c.DB, txn.Options{
		Tx: c.txOptions(),
		Conn: func(ctx context.Context) (_ *sql.Conn, err error) {
			if conn, err = db.Connx(ctx); err != nil {
				return nil, err
			}
			return conn.Conn, nil
		},
		Begin: func(ctx context.Context, _ *sql.Conn, opts *sql.TxOptions) (_ *sql.Tx, err error) {
			open := func() (err error) {
				tx, err = conn.BeginTxx(ctx, opts)
				return err
			}
			if a.Begin == nil {
				err = open()
			} else {
				err = a.Begin(ctx, conn.Conn, open)
			}
			if err != nil {
				return nil, err
			}
			return tx.Tx, nil
		},
		After: a.After,
		Waits: a.Waits,
	}, func(*sql.Tx) error { return fn(tx) })
}

func (c *Call) txOptions() *sql.TxOptions {
	isolation := c.Isolation
	if c.Server.FixedIsolation { // a driver may refuse a level by name, although it always gives the highest one
		isolation = sql.LevelDefault
	}
	if isolation == sql.LevelDefault && !c.ReadOnly {
		return nil
	}
	return &sql.TxOptions{Isolation: isolation, ReadOnly: c.ReadOnly}
}
