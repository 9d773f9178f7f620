package txn

import "context"

// These are sent as they are, since database/sql can't be told which kind of BEGIN it should send: each driver of SQLite
// takes that from its DSN alone.
const (
	takeWriteLock = "BEGIN IMMEDIATE"
	commit        = "COMMIT"
)

// writeLocked sends a statement behind one that takes SQLite's write lock. To wait for the lock writes nothing, so the end of
// ctx may cut that short. What follows waits for nobody, and is not cut short: of a statement alone that is, nobody knows
// what came. (That of modernc's driver returns ctx's error even if the statement was applied.)
func (c *Conn) writeLocked(ctx context.Context, t *tries, s statement) (a answer, again bool, err error) {
	if _, err = c.conn.ExecContext(ctx, takeWriteLock); err != nil {
		if !definite(err) { // mattn's driver says so too after a BEGIN that was carried out, if ctx has ended
			c.clear(ctx)
		}
		again, err = c.afterRead(ctx, t, err)
		return answer{}, again, err
	}
	c.locked = true // also if the driver panics
	a, err = c.commitLocked(ctx, s)
	c.locked = false
	return a, false, JoinContext(ctx, err)
}

// commitLocked sends a statement in the transaction that has the write lock, and ends that.
func (c *Conn) commitLocked(ctx context.Context, s statement) (a answer, err error) {
	if err = ctx.Err(); err == nil {
		a, err = s.send(context.WithoutCancel(ctx), c.conn)
	}
	if err != nil {
		c.clear(ctx)
		return answer{}, explainBadConn(err)
	}
	if _, err = c.conn.ExecContext(context.WithoutCancel(ctx), commit); err != nil {
		return answer{}, c.afterCommit(ctx, err)
	}
	return a, nil
}

// takesWriteLock reports whether the server is known to be one where who writes takes the one lock of the database.
func (c *Conn) takesWriteLock() bool {
	server, known := c.server.Known()
	return known && !server.RowLocks
}
