package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
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

// WriteOne is ExecOne, whatever tells that the row was written: where returns says so, the statement returns a number for it.
// Then a session that was ended before any came has written none, see Conn.Returns.
func WriteOne(ctx context.Context, r Runner, returns bool, query string, args ...any) (wrote bool, err error) {
	if !returns {
		_, wrote, err = ExecOne(ctx, r, query, args...)
		return wrote, err
	}
	var one any // CockroachDB divides integers to a decimal
	err = r.QueryRow(ctx, query, args, &one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// LastInsertID returns what LAST_INSERT_ID was given by the statement of res, which r has run last. A trigger makes the
// server forget to say so in its answer, which then has 0: then the session is asked.
func LastInsertID(ctx context.Context, r Runner, res sql.Result) (int64, error) {
	id, err := res.LastInsertId()
	if err != nil || id != 0 {
		return id, err
	}
	ctx, cancel := beyond(ctx) // the statement stands, also if ctx has ended
	defer cancel()
	var unsigned uint64
	err = r.ReadSession(ctx, "SELECT LAST_INSERT_ID()", nil, &unsigned)
	return int64(unsigned), err
}

// Unread returns the error of a statement that was applied and whose result could not be read.
func Unread(r Runner, err error) error {
	return r.Applied(fmt.Errorf("the statement was applied, but its result could not be read: %w", scanError{err}))
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
	// found is the wire, once it was looked for. discard and reconnect forget it.
	found wire
	// server tells whether writeLocked is called for, as soon as it is known.
	server dialect.Source
	// locked: a transaction of writeLocked is open.
	locked bool
	// returns: see Returns.
	returns bool
	// spoiled: the connection must run nothing else.
	spoiled bool
}

// Acquire takes a connection from the pool, and waits for one while the pool is used up. The connection is pinned
// because *sql.DB itself repeats a statement after driver.ErrBadConn, which some drivers also return after the server
// has received it (golang/go#11978).
func Acquire(ctx context.Context, db *sql.DB) (*Conn, error) {
	c, err := connect(ctx, db, db.Conn)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: c, db: db}, nil
}

// Reaches says what tells which server the connection reaches. Without it, and until it knows, a write to SQLite is not
// preceded by taking the write lock, and has an unknown outcome if its context ends meanwhile.
func (c *Conn) Reaches(s dialect.Source) { c.server = s }

// Returns says that the server returns a row for each one that a statement of QueryRow writes, before it commits. Then a
// session that was ended before any row came has written none.
func (c *Conn) Returns() { c.returns = true }

// Close gives the connection back.
func (c *Conn) Close() error {
	if c.locked { // a panic has left it open
		c.clear(context.Background())
	}
	if c.spoiled {
		c.discard()
	}
	return c.conn.Close()
}

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
	a, err := c.write(ctx, statement{query: query, args: args})
	return a.res, err
}

// QueryRow runs one statement that writes, once.
func (c *Conn) QueryRow(ctx context.Context, query string, args []any, dest ...any) error {
	a, err := c.write(ctx, statement{query: query, args: args, dest: dest, rows: true, tells: c.returns})
	switch {
	case err != nil:
		return err
	case errors.Is(a.scanErr, nogap.ErrNotUnique):
		return JoinContext(ctx, c.Applied(a.scanErr))
	case a.scanErr != nil:
		return JoinContext(ctx, Unread(c, a.scanErr))
	case !a.found:
		return sql.ErrNoRows
	}
	return nil
}

// Read runs one statement that writes nothing, so it is repeated if the connection turns out to be lost.
func (c *Conn) Read(ctx context.Context, query string, args []any, dest ...any) error {
	var t tries
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		begun := time.Now()
		err := c.readRow(ctx, query, args, dest)
		if t.stalePlan(err) {
			continue
		}
		if err == nil {
			return nil
		}
		if again, err := c.afterRead(ctx, &t, c.waitedFor(ctx, begun, err)); !again {
			return err
		}
	}
}

// afterRead decides what to do about the error of a call that wrote nothing: again, if the connection was lost.
func (c *Conn) afterRead(ctx context.Context, t *tries, err error) (again bool, _ error) {
	if !c.lost(ctx, err) || !t.again(c.db) {
		return false, JoinContext(ctx, explainBadConn(err))
	}
	err = c.reconnect(ctx)
	return err == nil, err
}

// ReadSession runs one statement that reads something of this connection's.
func (c *Conn) ReadSession(ctx context.Context, query string, args []any, dest ...any) error {
	return c.readRow(ctx, query, args, dest)
}

// readRow is readRow for the connection.
func (c *Conn) readRow(ctx context.Context, query string, args, dest []any) error {
	return c.bounded(ctx, func(inner context.Context) error { return JoinContext(ctx, readRow(inner, c.conn, query, args, dest)) })
}

// bounded calls f, which writes nothing, and sees to it that it ends with ctx.
func (c *Conn) bounded(ctx context.Context, f func(context.Context) error) error {
	if ctx.Done() == nil {
		return f(ctx)
	}
	w := c.wire()
	if !w.waitsOn() {
		return f(ctx)
	}
	o := (&overtime{wire: w, silent: true}).start(ctx, 2*askAfter, 2*askAfter)
	defer func() { c.spoiled = o.end() || c.spoiled }()
	return f(ctx) // at its end lib/pq itself asks the server to cancel, over TLS too, and then waits for the answer
}

// Applied implements Runner: the statement stands.
func (c *Conn) Applied(err error) error { return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err) }

// Pool reads on any connection of a *sql.DB.
type Pool struct{ DB *sql.DB }

// Read runs one statement that writes nothing, as Conn.Read does.
func (p Pool) Read(ctx context.Context, query string, args []any, dest ...any) error {
	return With(ctx, p.DB, func(c *Conn) error { return c.Read(ctx, query, args, dest...) })
}

// afterCommit returns what came of a COMMIT that failed with err.
func (c *Conn) afterCommit(ctx context.Context, err error) error {
	if unsent(c.db, err) {
		c.discard()
		return explainBadConn(err)
	}
	alive := c.clear(ctx)
	if definite(err) || maybeDefinite(err) && alive {
		return err
	}
	c.suspectOthers(ctx)
	return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err)
}

// afterCall decides what to do about an error with which a driver refused a call: again if nothing was sent.
func (c *Conn) afterCall(ctx context.Context, t *tries, err error) (again bool, _ error) {
	switch {
	case unsent(c.db, err):
		return c.onAnother(ctx, t, err)
	case definite(err), maybeDefinite(err) && c.answers(ctx):
		return false, JoinContext(ctx, err)
	}
	c.suspectAll(ctx)
	return false, unknown(ctx, err)
}

// onAnother replaces the connection, which was of no use for a statement that was not sent, unless that was tried often enough.
func (c *Conn) onAnother(ctx context.Context, t *tries, err error) (again bool, _ error) {
	if t.again(c.db) {
		err = c.reconnect(ctx)
		return err == nil, err
	}
	return false, JoinContext(ctx, explainBadConn(err))
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
	case ctx.Err() != nil, errors.Is(err, sql.ErrNoRows), timedOut(err):
		return false
	case unsent(c.db, err):
		return true
	case definite(err):
		return false
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
	c.conn, c.found, c.spoiled = fresh, wire{}, false
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
	c.found = wire{}
	c.conn.Raw(func(driverConn any) error {
		closePgx(driverConn)
		return driver.ErrBadConn
	})
}

// closePgx closes a connection of pgx for good. Its driver does so too, but one that it has from a pgxpool
// (stdlib.OpenDBFromPool) it gives back, and the pool hands it out again if it looks idle.
func closePgx(driverConn any) {
	driverConn = unwrapped(driverConn)
	t := reflect.TypeOf(driverConn)
	if t == nil || t.Kind() != reflect.Pointer || typeName(t) != pgxConn {
		return
	}
	method := reflect.ValueOf(driverConn).MethodByName("Conn")
	if !method.IsValid() {
		return
	}
	if conn, ok := method.Call(nil)[0].Interface().(interface{ Close(context.Context) error }); ok {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		_ = conn.Close(ctx)
	}
}

// clear makes sure that the connection is in no transaction any more, as it may be after a BEGIN, a COMMIT or a ROLLBACK
// that has failed, and reports whether it answers. One that does has answered what was asked of it before, too. A connection
// that refuses to roll back is discarded: in the pool, whoever gets it next would write in that transaction.
func (c *Conn) clear(ctx context.Context) (alive bool) {
	ctx, cancel := beyond(ctx)
	defer cancel()
	err := c.bounded(ctx, func(ctx context.Context) error {
		_, err := c.conn.ExecContext(ctx, rollBack)
		return err
	})
	if err == nil || sqlerr.Of(err).Has(sqlerr.NoTransaction) {
		return true
	}
	c.discard()
	return definite(err)
}

// answers reports whether the connection is still in step with its server. One that is not is discarded.
func (c *Conn) answers(ctx context.Context) bool {
	if c.alive(context.WithoutCancel(ctx)) {
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
		if err := rows.Scan(dest...); err != nil {
			scanErr = scanError{err}
		}
	}
	for rows.Next() {
		scanErr = nogap.ErrNotUnique
	}
	atEnd = true
	return found, scanErr, rows.Err()
}

// scanError is the error of a row that is there, but can't be stored. It is no sql.ErrNoRows, and no nogap.ErrNotUnique, whatever the
// Scan method of the caller's type returns.
type scanError struct{ err error }

func (e scanError) Error() string { return e.err.Error() }

func (e scanError) Is(target error) bool {
	return target != sql.ErrNoRows && target != nogap.ErrNotUnique && errors.Is(e.err, target)
}

func (e scanError) As(target any) bool { return errors.As(e.err, target) }
