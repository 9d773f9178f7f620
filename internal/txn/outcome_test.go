package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// pgError looks like *pgconn.PgError.
type pgError struct{ Severity, code string }

func (e *pgError) Error() string    { return e.Severity + " " + e.code }
func (e *pgError) SQLState() string { return e.code }

// MySQLError looks like *mysql.MySQLError.
type MySQLError struct {
	Number   uint16
	SQLState [5]byte
	Message  string
}

func (e *MySQLError) Error() string { return e.Message }

// closedError looks like pgx's "conn closed", which calls itself safe to retry and is not.
type closedError struct{}

func (closedError) Error() string     { return "conn closed" }
func (closedError) SafeToRetry() bool { return true }

// A fault is an error of a driver and what may be true when it comes.
type fault struct {
	name string
	err  error
	// closes: the connection is dead afterwards.
	closes bool
	// sent: the statement may have reached the server, so it may have been applied.
	sent bool
	// refused: the server has answered that it did not apply the statement.
	refused bool
}

var errDriver = errors.New("driver: cannot encode a chan")

var faults = []fault{
	{name: "ErrBadConn", err: driver.ErrBadConn, closes: true},
	{name: "safe to retry, it says", err: closedError{}, closes: true, sent: true},
	{name: "driver refuses", err: errDriver, refused: true},
	{name: "driver fails", err: errDriver, closes: true, sent: true},
	{name: "EOF", err: fmt.Errorf("read: %w", io.EOF), closes: true, sent: true},
	{name: "unexpected EOF", err: io.ErrUnexpectedEOF, closes: true, sent: true},
	{name: "reset", err: &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, closes: true, sent: true},
	{name: "net.ErrClosed", err: net.ErrClosed, closes: true, sent: true},
	{name: "reset, reconnects by itself", err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}, sent: true},
	{name: "EOF, reconnects by itself", err: fmt.Errorf("http: %w", io.EOF), sent: true},
	{name: "driver's own time limit", err: context.DeadlineExceeded, closes: true, sent: true},
	{name: "canceled by the driver", err: context.Canceled, sent: true},
	{name: "unique", err: &pgError{"ERROR", "23505"}, refused: true},
	{name: "serialization failure", err: &pgError{"ERROR", "40001"}, refused: true},
	{name: "idle transaction ended", err: &pgError{"FATAL", "25P03"}, closes: true, refused: true},
	{name: "idle session ended", err: &pgError{"FATAL", "57P05"}, closes: true},
	{name: "duplicate key", err: &MySQLError{Number: 1062, Message: "duplicate"}, refused: true},
	{name: "completion unknown", err: &pgError{"ERROR", "40003"}, sent: true},
	{name: "admin shutdown", err: &pgError{"FATAL", "57P01"}, closes: true, sent: true},
	{name: "connection failure", err: &pgError{"FATAL", "08006"}, closes: true, sent: true},
	{name: "panic of the server", err: &pgError{"PANIC", "XX000"}, closes: true, sent: true},
}

// unknown: nobody can know whether the server applied the statement.
func (f fault) unknown(honest bool) bool {
	return f.sent || !honest && errors.Is(f.err, driver.ErrBadConn)
}

// repeatable: a statement or a COMMIT that failed so has not been sent.
func (f fault) unsent(honest bool) bool { return !f.sent && !f.refused && !f.unknown(honest) }

// faulty is a server that holds one number, which every statement adds 1 to, and that fails once, at one point.
type faulty struct {
	fault
	at      fakedb.Kind
	rows    bool // fails after the row of a query
	applies bool // if it has applied the statement or the COMMIT by then
	then    func()

	failed  bool
	dead    map[int]bool
	pending map[int]int // per connection, in a transaction
	inTx    map[int]bool
	value   int
	calls   map[fakedb.Kind]int // of the statement and of COMMIT
}

func (s *faulty) handle(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
	if c.Kind == fakedb.Close {
		delete(s.pending, c.Conn)
		return fakedb.Reply{}, nil
	}
	if s.dead[c.Conn] {
		return fakedb.Reply{}, driver.ErrBadConn
	}
	if c.Query == "SELECT 1" {
		return fakedb.Row(int64(1)), nil
	}
	if c.Query == "ROLLBACK" { // sent as a statement
		c.Kind = fakedb.Rollback
	} else {
		s.calls[c.Kind]++
	}
	reply := fakedb.Row(int64(s.value + 1))
	reply.RowsAffected = 1
	fails := s.at == c.Kind && !s.failed
	if fails {
		s.failed = true
		if s.closes {
			s.dead[c.Conn] = true
		}
		defer s.then()
		if !s.applies && !s.rows {
			return fakedb.Reply{}, s.err
		}
	}
	if !fails || s.applies {
		s.apply(c)
	}
	switch {
	case fails && s.rows:
		reply.Err = s.err
	case fails:
		return fakedb.Reply{}, s.err
	}
	return reply, nil
}

func (s *faulty) apply(c fakedb.Call) {
	switch c.Kind {
	case fakedb.Begin:
		s.inTx[c.Conn] = true
	case fakedb.Exec, fakedb.Query:
		if s.inTx[c.Conn] {
			s.pending[c.Conn]++
		} else {
			s.value++
		}
	case fakedb.Commit:
		s.value += s.pending[c.Conn]
		s.inTx[c.Conn], s.pending[c.Conn] = false, 0
	case fakedb.Rollback:
		s.inTx[c.Conn], s.pending[c.Conn] = false, 0
	}
}

// stranger hides the driver behind a type that is not known to be honest about ErrBadConn, as lib/pq isn't and as a
// wrapper may not be.
type stranger struct{ *fakedb.Server }

func (s stranger) Driver() driver.Driver { return strangeDriver{} }

type strangeDriver struct{}

func (strangeDriver) Open(string) (driver.Conn, error) { return nil, errors.New("not used") }

// Whatever fails and wherever it does: an error that does not say ErrOutcomeUnknown means that nothing was written, no
// error means that it was written once, nothing is ever written twice, and the pool is left in order.
func TestOutcomeIsHonest(t *testing.T) {
	const statement = "UPDATE items SET stock = stock + 1"
	autocommit := func(ctx context.Context, db *sql.DB, run func(*txn.Conn) error) error {
		c, err := txn.Acquire(ctx, db)
		if err != nil {
			return err
		}
		defer c.Close()
		return run(c)
	}
	points := []struct {
		name    string
		at      fakedb.Kind
		rows    bool
		outcome bool // of this call decides whether the write stands
		run     func(ctx context.Context, db *sql.DB) error
	}{
		{"exec", fakedb.Exec, false, true, func(ctx context.Context, db *sql.DB) error {
			return autocommit(ctx, db, func(c *txn.Conn) error {
				_, err := c.Exec(ctx, statement)
				return err
			})
		}},
		{"query", fakedb.Query, false, true, queryRow(autocommit, statement)},
		{"query, after the row", fakedb.Query, true, true, queryRow(autocommit, statement)},
		{"begin", fakedb.Begin, false, false, addInTx(statement)},
		{"statement in a transaction", fakedb.Exec, false, false, addInTx(statement)},
		{"commit", fakedb.Commit, false, true, addInTx(statement)},
		{"rollback", fakedb.Rollback, false, false, func(ctx context.Context, db *sql.DB) error {
			return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
				tx.ExecContext(ctx, statement)
				return errCallback
			})
		}},
	}
	for _, p := range points {
		for _, f := range faults {
			for _, honest := range []bool{true, false} {
				for _, applies := range []bool{false, true} {
					for _, cancels := range []bool{false, true} {
						if applies && !f.unknown(honest) || p.rows && f.unsent(true) {
							continue // cannot be
						}
						name := fmt.Sprintf("%s/%s/honest=%v/applied=%v/canceled=%v", p.name, f.name, honest, applies, cancels)
						t.Run(name, func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) {
								ctx, cancel := context.WithCancel(t.Context())
								defer cancel()
								then := func() {}
								if cancels {
									then = cancel
								}
								s := &faulty{fault: f, at: p.at, rows: p.rows, applies: applies, then: then,
									dead: map[int]bool{}, pending: map[int]int{}, inTx: map[int]bool{}, calls: map[fakedb.Kind]int{}}
								server := fakedb.New(s.handle)
								var db *sql.DB
								if honest {
									db = server.DB()
								} else {
									db = sql.OpenDB(stranger{server})
								}
								defer db.Close()

								err := p.run(ctx, db)
								synctest.Wait()
								require.True(t, s.failed, "the fault is there")
								require.LessOrEqual(t, s.value, 1)
								switch {
								case err == nil:
									require.Equal(t, 1, s.value)
								case !errors.Is(err, nogap.ErrOutcomeUnknown):
									require.Zero(t, s.value)
								}
								if cancels && err != nil && p.at != fakedb.Rollback {
									require.ErrorIs(t, err, context.Canceled)
								}
								switch {
								case p.rows && cancels:
									// database/sql may close the rows before the server's answer has been read.
								case p.outcome && f.unknown(honest), p.outcome && p.rows && !f.refused:
									require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
									require.ErrorIs(t, err, f.err)
								case p.outcome && p.rows && errors.Is(f.err, errDriver):
									require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
								case p.outcome && f.refused:
									require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
									require.ErrorIs(t, err, f.err)
								case p.at == fakedb.Begin && f.refused && !f.closes:
									require.ErrorIs(t, err, f.err)
								case p.at == fakedb.Begin && !cancels && !errors.Is(f.err, context.DeadlineExceeded) && !f.refused:
									require.NoError(t, err, "another connection is tried")
								case p.at == fakedb.Rollback:
									require.ErrorIs(t, err, errCallback)
									require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
								case p.at == fakedb.Exec && !p.outcome:
									require.ErrorIs(t, err, f.err)
									require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
								}
								if p.outcome && !f.unsent(honest) {
									require.Equal(t, 1, s.calls[p.at], "sent once")
								}

								// The pool is in order, and the next user finds a clean connection.
								require.Zero(t, db.Stats().InUse)
								before := s.value
								require.NoError(t, addInTx(statement)(t.Context(), db))
								require.Equal(t, before+1, s.value)
								require.Zero(t, db.Stats().InUse)
								require.Zero(t, server.Dirty())
								require.LessOrEqual(t, server.OpenConns(), 1)
							})
						})
					}
				}
			}
		}
	}
}

var errCallback = errors.New("the callback's own")

func queryRow(autocommit func(context.Context, *sql.DB, func(*txn.Conn) error) error, statement string) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		return autocommit(ctx, db, func(c *txn.Conn) error {
			var v int
			return c.QueryRow(ctx, statement, nil, &v)
		})
	}
}

func addInTx(statement string) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statement)
			return err
		})
	}
}
