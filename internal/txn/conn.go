package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// resends is how often a call that wrote nothing is tried on another connection, when the pool has no idle one left.
// database/sql uses the same number for its own, less careful, repetitions.
const resends = 2

const rollBack = "ROLLBACK"

// Runner runs single statements: each in a transaction of its own on a Conn, or all in one transaction, see In.
type Runner interface {
	// Exec runs a statement that writes.
	Exec(ctx context.Context, query string, args ...any) (sql.Result, error)
	// QueryRow runs a statement that writes and returns at most one row, whose columns it stores in dest. No row is
	// sql.ErrNoRows, several are nogap.ErrNotUnique.
	QueryRow(ctx context.Context, query string, args []any, dest ...any) error
	// Read runs a statement that writes nothing and returns at most one row. No row is sql.ErrNoRows, several are
	// nogap.ErrNotUnique.
	Read(ctx context.Context, query string, args []any, dest ...any) error
	// ReadSession is Read for what belongs to the session, such as LAST_INSERT_ID(): no other connection is asked.
	ReadSession(ctx context.Context, query string, args []any, dest ...any) error
	// Applied returns the error of a statement that was applied and is not what the caller may believe in: where it
	// stands already, nogap.ErrOutcomeUnknown is wrapped with err.
	Applied(err error) error
}

// ExecOne runs a statement that writes one row at most, and reports whether it did. Several are nogap.ErrNotUnique.
func ExecOne(ctx context.Context, r Runner, query string, args ...any) (res sql.Result, wrote bool, err error) {
	if res, err = r.Exec(ctx, query, args...); err != nil {
		return nil, false, err
	}
	n, err := res.RowsAffected()
	switch {
	case err != nil:
		return nil, false, Unread(r, err)
	case n > 1:
		return nil, false, r.Applied(fmt.Errorf("%w: %d rows have it", nogap.ErrNotUnique, n))
	}
	return res, n == 1, nil
}

// LastInsertID returns what LAST_INSERT_ID was given by the statement of res, which r has run last. A trigger makes the
// server forget to say so in its answer, which then has 0: then the session is asked.
func LastInsertID(ctx context.Context, r Runner, res sql.Result) (int64, error) {
	id, err := res.LastInsertId()
	if err != nil || id != 0 {
		return id, err
	}
	var unsigned uint64
	err = r.ReadSession(ctx, "SELECT LAST_INSERT_ID()", nil, &unsigned)
	return int64(unsigned), err
}

// Unread returns the error of a statement that was applied and whose result could not be read.
func Unread(r Runner, err error) error {
	return r.Applied(fmt.Errorf("the statement was applied, but its result could not be read: %w", err))
}

// Conn is one connection taken from the pool, on which every statement is a transaction of its own ("autocommit"). An
// error that does not wrap nogap.ErrOutcomeUnknown means that the statement wrote nothing.
//
// A connection that turns out to be dead before it could have written anything is replaced, so settings of the session
// do not last on a Conn.
//
// It is not safe for concurrent use.
type Conn struct {
	conn *sql.Conn // not embedded: its methods repeat nothing, and don't tell what came of a statement
	db   *sql.DB
}

// Acquire takes a connection from the pool, and waits for one while the pool is used up. The connection is pinned
// because *sql.DB itself repeats a statement after driver.ErrBadConn, which some drivers also return after the server
// has received it (golang/go#11978).
func Acquire(ctx context.Context, db *sql.DB) (*Conn, error) {
	c, err := connect(ctx, db, db.Conn)
	if err != nil {
		return nil, err
	}
	return &Conn{c, db}, nil
}

// Close gives the connection back.
func (c *Conn) Close() error { return c.conn.Close() }

// With takes a connection from the pool, calls f with it and gives it back.
//
// If f panics, nobody waits until the connection has been given back: a panic in a driver, or in the Value method of an
// argument, can leave a lock of database/sql held, for which closing would wait for ever.
func With(ctx context.Context, db *sql.DB, f func(*Conn) error) error {
	c, err := Acquire(ctx, db)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if returned {
			c.Close()
		} else {
			go c.Close()
		}
	}()
	err = f(c)
	returned = true
	return err
}

// Exec runs one statement, once.
func (c *Conn) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	var t tries
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		res, err := c.conn.ExecContext(ctx, query, args...)
		if err == nil {
			return res, nil
		}
		if again, err := c.afterCall(ctx, &t, err); !again {
			return nil, err
		}
	}
}

// QueryRow runs one statement that writes, once.
func (c *Conn) QueryRow(ctx context.Context, query string, args []any, dest ...any) error {
	var t tries
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, err := c.conn.QueryContext(ctx, query, args...)
		if err != nil {
			if again, err := c.afterCall(ctx, &t, err); !again {
				return err
			}
			continue
		}
		found, scanErr, err := scanOne(rows, dest)
		switch {
		case t.stalePlan(err):
			continue
		case err != nil && !definite(err):
			// A driver that could not read a row fails like one that lost the connection, and the write may stand.
			c.suspectAll(ctx)
			return unknown(ctx, err)
		case err != nil:
			return JoinContext(ctx, err)
		case errors.Is(scanErr, nogap.ErrNotUnique):
			return JoinContext(ctx, c.Applied(scanErr))
		case scanErr != nil:
			return JoinContext(ctx, Unread(c, scanErr))
		case !found:
			return sql.ErrNoRows
		}
		return nil
	}
}

// Read runs one statement that writes nothing, so it is repeated if the connection turns out to be lost.
func (c *Conn) Read(ctx context.Context, query string, args []any, dest ...any) error {
	var t tries
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := readRow(ctx, c.conn, query, args, dest)
		if t.stalePlan(err) {
			continue
		}
		if err == nil || !c.lost(ctx, err) || !t.again(c.db) {
			return JoinContext(ctx, explainBadConn(err))
		}
		if err := c.reconnect(ctx); err != nil {
			return err
		}
	}
}

// ReadSession runs one statement that reads something of this connection's.
func (c *Conn) ReadSession(ctx context.Context, query string, args []any, dest ...any) error {
	return readRow(ctx, c.conn, query, args, dest)
}

// Applied implements Runner: the statement stands.
func (c *Conn) Applied(err error) error { return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err) }

// Pool reads on any connection of a *sql.DB.
type Pool struct{ DB *sql.DB }

// Read runs one statement that writes nothing, as Conn.Read does.
func (p Pool) Read(ctx context.Context, query string, args []any, dest ...any) error {
	return With(ctx, p.DB, func(c *Conn) error { return c.Read(ctx, query, args, dest...) })
}

// afterCall decides what to do about an error with which a driver refused a call: again if nothing was sent.
func (c *Conn) afterCall(ctx context.Context, t *tries, err error) (again bool, _ error) {
	switch {
	case t.stalePlan(err):
		return true, nil
	case unsent(c.db, err):
		if t.again(c.db) {
			err = c.reconnect(ctx)
			return err == nil, err
		}
		return false, JoinContext(ctx, explainBadConn(err))
	case definite(err), maybeDefinite(err) && c.answers(ctx):
		return false, JoinContext(ctx, err)
	}
	c.suspectAll(ctx)
	return false, unknown(ctx, err)
}

// tries counts the connections on which a call that wrote nothing failed.
type tries struct {
	failed, most int
	replanned    bool
}

// stalePlan reports whether to run a statement again, on the same connection, because its table was altered after the
// driver had prepared it.
func (t *tries) stalePlan(err error) bool {
	if t.replanned || !sqlerr.Of(err).Has(sqlerr.StalePlan) {
		return false
	}
	t.replanned = true
	return true
}

// again counts one more, and reports whether to try another connection. After a restart of the server every idle
// connection of the pool is dead, and each try uses one up.
func (t *tries) again(db *sql.DB) bool {
	if t.failed == 0 {
		t.most = resends + db.Stats().Idle
	}
	t.failed++
	return t.failed <= t.most
}

// lost reports whether a call failed because its connection is of no more use. A call that timed out is not repeated,
// for the next one would too.
func (c *Conn) lost(ctx context.Context, err error) bool {
	switch {
	case ctx.Err() != nil, errors.Is(err, sql.ErrNoRows), definite(err), timedOut(err):
		return false
	case unsent(c.db, err):
		return true
	case maybeDefinite(err):
		return !c.answers(ctx)
	}
	return true
}

// reconnect replaces the connection, which is dead or may be.
func (c *Conn) reconnect(ctx context.Context) error {
	c.discard()
	c.suspectOthers(ctx)
	fresh, err := connect(ctx, c.db, c.db.Conn)
	if err != nil {
		return err
	}
	c.conn = fresh
	return nil
}

// suspectOthers makes those who take one of the other idle connections try it first, since what has ended this one may
// have ended them. The end of the caller's context does not.
func (c *Conn) suspectOthers(ctx context.Context) {
	if ctx.Err() == nil {
		suspectIdle(c.db, 0)
	}
}

// suspectAll suspects this one too, which goes back to the pool unless the driver knows that it is dead.
func (c *Conn) suspectAll(ctx context.Context) {
	if ctx.Err() == nil {
		suspectIdle(c.db, 1)
	}
}

// discard makes the pool close the connection instead of handing it to somebody else.
func (c *Conn) discard() {
	c.conn.Raw(func(any) error { return driver.ErrBadConn })
}

// clear makes sure that the connection is in no transaction any more, as it may be after a BEGIN, a COMMIT or a ROLLBACK
// that has failed, and reports whether it answers. One that does has answered what was asked of it before, too. A connection
// that refuses to roll back is discarded: in the pool, whoever gets it next would write in that transaction.
func (c *Conn) clear(ctx context.Context) (alive bool) {
	ctx, cancel := beyond(ctx)
	defer cancel()
	_, err := c.conn.ExecContext(ctx, rollBack)
	if err == nil || sqlerr.Of(err).Has(sqlerr.NoTransaction) {
		return true
	}
	c.discard()
	return definite(err)
}

// answers reports whether the connection is still in step with its server. One that is not is discarded.
func (c *Conn) answers(ctx context.Context) bool {
	if alive(context.WithoutCancel(ctx), c.conn) {
		return true
	}
	c.discard()
	return false
}

// readRow runs one statement and stores its row in dest. Unlike sql.Row it says so if there is more than one row.
func readRow(ctx context.Context, q queryer, query string, args []any, dest []any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return JoinContext(ctx, err)
	}
	found, scanErr, err := scanOne(rows, dest)
	switch {
	case err != nil:
		return JoinContext(ctx, err)
	case scanErr != nil:
		return scanErr
	case !found:
		return sql.ErrNoRows
	}
	return nil
}

// queryer is a *sql.Conn or a nogap.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scanOne stores the one row in dest and reads on to the end: until then the server may still report that the statement
// failed, in a deferred constraint for example.
func scanOne(rows *sql.Rows, dest []any) (found bool, scanErr, err error) {
	atEnd := false
	defer func() {
		if !atEnd { // Scan panicked; otherwise the last Next has closed the rows
			go rows.Close() // which waits for a lock of database/sql that the panic may have left held
		}
	}()
	if found = rows.Next(); found {
		scanErr = rows.Scan(dest...)
	}
	for rows.Next() {
		scanErr = nogap.ErrNotUnique
	}
	atEnd = true
	return found, scanErr, rows.Err()
}
