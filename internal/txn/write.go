package txn

import (
	"context"
	"database/sql"
	"time"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// statement is one that writes.
type statement struct {
	query string
	args  []any
	dest  []any // for the columns of its row
	rows  bool  // it returns rows
	tells bool  // they come before the commit, one for each row that is written
}

// answer is that of a statement.
type answer struct {
	res     sql.Result
	found   bool // a row
	scanErr error
	// reading: an error came with the rows.
	reading bool
}

// send hands the statement to the driver, once.
func (s statement) send(ctx context.Context, conn *sql.Conn) (a answer, err error) {
	if !s.rows {
		a.res, err = conn.ExecContext(ctx, s.query, s.args...)
		return a, err
	}
	rows, err := conn.QueryContext(ctx, s.query, s.args...)
	if err != nil {
		return answer{}, err
	}
	a.reading = true
	a.found, a.scanErr, err = scanOne(rows, s.dest)
	return a, err
}

// write sends a statement, once, and tells what came of it.
func (c *Conn) write(ctx context.Context, s statement) (a answer, err error) {
	var t tries
	for again := true; again; {
		if ctx.Done() != nil {
			if err := c.findDirect(ctx); err != nil {
				return answer{}, err
			}
		}
		if err := ctx.Err(); err != nil {
			return answer{}, err
		}
		begun := time.Now()
		if ctx.Done() != nil && c.takesWriteLock() {
			a, again, err = c.writeLocked(ctx, &t, s)
		} else {
			a, again, err = c.writeAlone(ctx, &t, s)
		}
		err = c.waitedFor(ctx, begun, err)
	}
	return a, err
}

// writeAlone sends a statement that is a transaction of its own.
func (c *Conn) writeAlone(ctx context.Context, t *tries, s statement) (_ answer, again bool, _ error) {
	if c.wire().ended() {
		again, err := c.onAnother(ctx, t, errEndedBefore)
		return answer{}, again, err
	}
	a, err := c.patiently(ctx, s)
	switch {
	case err == nil:
		return a, false, nil
	case t.stalePlan(err):
		return a, true, nil
	case s.undone(a, err):
		c.suspectOthers(ctx)
		return a, false, JoinContext(ctx, err)
	case a.reading && definite(err):
		return a, false, JoinContext(ctx, err)
	case a.reading:
		// A driver that could not read a row fails like one that lost the connection, and the write may stand.
		c.suspectAll(ctx)
		return a, false, unknown(ctx, err)
	}
	again, err = c.afterCall(ctx, t, err)
	return a, again, err
}

// undone reports whether the server has ended the session, with err, before the statement was committed. PostgreSQL runs a
// statement with RETURNING to its end before it sends the first row, sends all rows before it commits, and ends a session
// where it looks for interrupts, in a message that follows what was sent before. A driver hands out a row that it has got
// even if the session ended then. https://github.com/postgres/postgres/blob/master/src/backend/tcop/pquery.c,
// PORTAL_ONE_RETURNING.
func (s statement) undone(a answer, err error) bool {
	return s.tells && !a.found && sqlerr.Of(err).Has(sqlerr.Interrupted)
}

// patiently sends a statement. The end of ctx does not cut it short before the grace is over.
func (c *Conn) patiently(ctx context.Context, s statement) (a answer, err error) {
	if ctx.Done() == nil {
		return s.send(ctx, c.conn)
	}
	o := allow(ctx, c.wire())
	defer func() {
		if o.end() {
			c.spoiled = true
			err = o.afterAsking(ctx, err)
		}
	}()
	return s.send(o.inner, c.conn)
}
