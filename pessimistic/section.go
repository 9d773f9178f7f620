package pessimistic

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// section is a call that runs a callback in a transaction that holds locks: a critical section.
type section struct {
	config
	db     *sql.DB
	known  *database
	server dialect.Server
	waited waited

	table    *table.Table                                // whose rows are locked; nil for a named lock
	what     *lock                                       // for the errors of what comes before the first lock
	locks    []*lock                                     // those that are known by name, in the order in which they are taken
	acquire  func(ctx context.Context, s *session) error // takes them in the server
	callback callback.Func

	turns   turns
	passed  bool  // somebody was let in who waited behind the call
	refused error // why the call did not get its turns again
}

func newSection(ctx context.Context, op *observe.Op, db *sql.DB, c config) (*section, error) {
	server, err := c.Server(ctx, db)
	return &section{config: c, db: db, known: databaseOf(db), server: server, waited: waited{op: op}}, err
}

// run takes the locks in this process, and then, in a transaction of every attempt, those in the server. With them it
// calls the callback.
func (s *section) run(ctx context.Context) error {
	if !s.server.RowLocks { // every lock is that of the whole database
		whole := *s.what
		whole.Lock = holding.Lock{}
		s.what, s.locks = &whole, []*lock{&whole}
	}
	if err := s.checkFree(ctx); err != nil {
		return fail(err)
	}
	if s.mode.Exclusive() {
		defer func() { s.turns.done() }()
		if err := s.takeTurns(ctx); err != nil {
			return fail(err)
		}
	}
	call := callback.Call{
		Options: s.Options, DB: s.db, Server: s.server, Op: s.waited.op, Ready: s.lookBefore, Pause: s.pause, Again: isEarly,
		Callback: s.lettingIn(s.callback), Locks: s.held(), Exclusive: s.mode.Exclusive(),
	}
	err := call.Run(ctx, s.attempt)
	if s.refused != nil && ctx.Err() == nil {
		return fail(s.refused)
	}
	return err
}

// checkFree returns an error if one of the locks is held by a transaction in whose callback the call is made.
func (s *section) checkFree(ctx context.Context) error {
	var keys [][]any
	for _, l := range s.locks {
		if err := holding.Check(ctx, s.db, s.mode.Exclusive(), l.Lock); err != nil {
			return l.failed(err)
		}
		if len(l.key) > 0 {
			keys = append(keys, l.key)
		}
	}
	if len(keys) == 0 || !s.server.RowLocks {
		return nil
	}
	if at, err := s.table.CheckLocks(ctx, s.db, s.mode.Exclusive(), keys...); err != nil {
		return s.locks[at].failed(err)
	}
	return nil
}

// attempt takes the locks of one transaction in the server.
func (s *section) attempt() callback.Attempt {
	inServer := &session{config: &s.config, server: s.server, waited: &s.waited}
	a := callback.Attempt{
		Waits: true, // see whileBusy
		Begin: func(ctx context.Context, conn *sql.Conn, open func() error) error {
			return inServer.begin(ctx, s.what, conn, open)
		},
		Enter: func(ctx context.Context, tx *sqlx.Tx) error {
			inServer.tx = tx
			if err := s.enter(ctx, inServer); err != nil {
				return err
			}
			// The callback's own statements wait as long as they would without nogap.
			if err := inServer.settings.Undo(ctx, tx); err != nil {
				return err
			}
			return s.look(ctx, tx)
		},
		Failed: fail,
	}
	if !s.server.LocalSettings { // elsewhere everything ends with the transaction
		a.After = inServer.undo
	}
	return a
}

// lookBefore looks at the table before the first transaction, over another connection: so nobody waits for a lock that
// the table can't give.
func (s *section) lookBefore(ctx context.Context) error {
	if s.table == nil {
		return nil
	}
	return s.table.CheckLockableBefore(ctx, s.db, s.server)
}

// look looks at the table in the transaction, if what the name stands for there is not known before: a temporary table, or
// one that Before has chosen. It comes after the locks, because InnoDB would show the callback the database as it was at the
// first read, and SQLite would not wait for the lock after one. The callback has not run, and nothing has been written.
func (s *section) look(ctx context.Context, tx *sqlx.Tx) error {
	if s.table == nil || s.table.Lockable() {
		return nil
	}
	return s.table.CheckLockable(ctx, txn.In(tx), s.server)
}

func (s *section) held() []holding.Lock {
	held := make([]holding.Lock, len(s.locks))
	for i, l := range s.locks {
		held[i] = l.Lock
	}
	return held
}
