package table

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/perdb"
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

// known is what the copies of a Table know together.
type known struct {
	lockable atomic.Bool
	session  *Session
}

// Look asks the server what the table is. The error is an Obstacle if it has no transactions. r is as for Server.
func (t *Table) Look(ctx context.Context, r dialect.Reader, s dialect.Server) (dialect.Look, error) {
	look, err := s.Look(ctx, r, t.Name, t.Version, t.Times)
	switch {
	case err != nil:
		return look, fmt.Errorf("%s: %w", t.Name, err)
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
	look, err := t.Look(ctx, r, s)
	switch {
	case err != nil:
		return err
	case look.Unlockable:
		return t.obstacle("a SELECT of this view locks no rows, because it is computed first (WITH, GROUP BY, …): name the table " +
			"whose rows are to be locked")
	case look.Lasts && !t.foreign:
		t.known.lockable.Store(true)
	}
	return nil
}

// Lockable reports whether CheckLockable need not be asked again.
func (t *Table) Lockable() bool { return t.known.lockable.Load() && !t.foreign }
