package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/oneatatime"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/txn"
)

// Obstacle is an error that says what a table or a session is, or does, that breaks a promise. Nothing was written.
type Obstacle struct {
	Table  string // as it was given; empty if it is the session
	Reason string // and what to do
}

func (o *Obstacle) Error() string {
	if o.Table == "" {
		return o.Reason
	}
	return o.Table + ": " + o.Reason
}

func (t *Table) obstacle(format string, args ...any) error {
	return &Obstacle{t.Name.String(), fmt.Sprintf(format, args...)}
}

// Session is what is known of the sessions of a *sql.DB. The zero Session is one that nobody has asked yet.
type Session struct{ commits atomic.Bool }

var sessions perdb.Map[Session]

// Commits reports whether the sessions are known to commit by themselves.
func (s *Session) Commits() bool { return s.commits.Load() }

// Check returns an error if the session behind r does not commit every statement by itself, or does more at COMMIT. What
// this session says is taken for all of the *sql.DB.
func (s *Session) Check(ctx context.Context, r dialect.Reader, server dialect.Server) error {
	if s.Commits() {
		return nil
	}
	if !server.SessionCommits() {
		told, err := server.Session(ctx, r)
		switch {
		case err != nil:
			return err
		case told.AutoCommit != 1:
			return &Obstacle{Reason: "the session has autocommit=0, so nothing that it writes is kept: set autocommit=1, in the DSN for example"}
		case told.Completion != "NO_CHAIN" && told.Completion != "0":
			return &Obstacle{Reason: fmt.Sprintf("the session has completion_type=%s, so what it writes after a COMMIT is not kept or its "+
				"connection ends: set completion_type=NO_CHAIN, in the DSN for example", told.Completion)}
		}
	}
	s.commits.Store(true)
	return nil
}

// CheckSession is Check for the sessions of db. What is not known yet is asked over a connection from the pool.
func CheckSession(ctx context.Context, db *sql.DB, server dialect.Server) error {
	if server.SessionCommits() {
		return nil
	}
	return sessions.Of(db, nil).Check(ctx, txn.Pool{DB: db}, server)
}

// known is what the copies of a Table know together.
type known struct {
	looking  oneatatime.Turn
	lockable atomic.Bool
	changes  atomic.Bool // what the name stands for may differ between sessions, so CheckLockableBefore can't tell
	returns  atomic.Bool // see dialect.Look
	session  *Session
}

// look asks the server what the table is. The error is an Obstacle if it has no transactions. r is as for Server. early
// says that the caller's transaction goes on with its first statement.
func (t *Table) look(ctx context.Context, r dialect.Reader, s dialect.Server, early bool) (dialect.Look, error) {
	look, err := s.Look(ctx, r, t.Name, dialect.Question{Version: t.Version, Times: t.Times, Early: early})
	t.known.returns.Store(look.Returns && look.Lasts && !t.foreign)
	switch {
	case err != nil:
		return look, fmt.Errorf("looking at table %s: %w", t.Name, err)
	case look.Engine == "":
		return look, nil
	case look.Behind.IsZero():
		return look, t.obstacle("its engine %s has no transactions, so that nothing is locked or rolled back: use ENGINE=InnoDB", look.Engine)
	}
	return look, t.obstacle("the view's table %s has the engine %s, which has no transactions, so that nothing is locked or "+
		"rolled back: use ENGINE=InnoDB", look.Behind, look.Engine)
}

// CheckWritten returns an Obstacle if something else is done in place of one of the commands. Then the condition of a
// statement says nothing about what is written after a wait, and the number of rows that is counted nothing about how many
// were.
func (t *Table) CheckWritten(look dialect.Look, c dialect.Commands) error {
	if c &= look.Diverted; c == 0 {
		return nil
	}
	return t.obstacle("it is a view with INSTEAD OF triggers, or has a DO INSTEAD rule, which the server runs in place of %v "+
		"without looking at the statement's condition again: name the table that is written", c)
}

// CheckLockable returns an Obstacle if the rows of the table can't be locked. It asks once.
func (t *Table) CheckLockable(ctx context.Context, r dialect.Reader, s dialect.Server) error {
	if t.Lockable() {
		return nil
	}
	look, err := t.lockable(ctx, r, s)
	if err == nil && look.Lasts && !t.foreign {
		t.known.lockable.Store(true)
	}
	return err
}

// lockable looks at the table. The error is an Obstacle if its rows can't be locked.
func (t *Table) lockable(ctx context.Context, r dialect.Reader, s dialect.Server) (dialect.Look, error) {
	look, err := t.look(ctx, r, s, false)
	if err == nil && look.Unlockable {
		err = t.obstacle("a SELECT of this view locks no rows, because it is computed first (WITH, GROUP BY, …): name the table " +
			"whose rows are to be locked")
	}
	return look, err
}

// CheckLockableBefore is CheckLockable for a transaction of db that has not begun yet. It asks over another connection, where
// that neither fixes what the transaction will see nor comes between its locks. What one session may be told otherwise than
// another is left to CheckLockable in the transaction, and so is everything where there are no row locks.
func (t *Table) CheckLockableBefore(ctx context.Context, db *sql.DB, s dialect.Server) error {
	known := func() bool { return t.Lockable() || t.known.changes.Load() || !s.RowLocks }
	if known() {
		return nil
	}
	done, err := t.known.looking.Take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if known() {
		return nil
	}
	look, err := t.lockable(ctx, txn.Pool{DB: db}, s)
	switch {
	case err != nil && (look.Lasts || !errors.As(err, new(*Obstacle))):
		return err
	case look.Lasts:
		t.known.lockable.Store(true)
	default:
		t.known.changes.Store(true)
	}
	return nil
}

// Lockable reports whether CheckLockable need not be asked again.
func (t *Table) Lockable() bool { return t.known.lockable.Load() && !t.foreign }
