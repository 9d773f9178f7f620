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
}

func newSection(ctx context.Context, op *observe.Op, db *sql.DB, c config) (*section, error) {
	server, err := serverOf(ctx, db, c.dialect)
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
		turns, err := s.takeTurns(ctx)
		defer turns.done()
		if err != nil {
			return fail(err)
		}
	}
	call := callback.Call{
		DB: s.db, Server: s.server, Op: s.waited.op, Policy: s.policy, Isolation: s.isolation,
		Before: s.before, Callback: s.callback, Locks: s.held(), Exclusive: s.mode.Exclusive(),
	}
	return call.Run(ctx, s.attempt)
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
		Begin: func(ctx context.Context, conn *sql.Conn, open func() error) error {
			return inServer.begin(ctx, s.what, conn, open)
		},
		Enter: func(ctx context.Context, tx *sqlx.Tx) error {
			inServer.tx = tx
			if err := s.acquire(ctx, inServer); err != nil {
				return err
			}
			// The callback's own statements wait as long as they would without nogap.
			if err := inServer.settings.undo(ctx, tx); err != nil {
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

// look looks at the session and at the table, once. It comes after the locks, because InnoDB would show the callback the
// database as it was at the first read, and SQLite would not wait for the lock after one. Nothing has been written yet.
func (s *section) look(ctx context.Context, tx *sqlx.Tx) error {
	if s.known.session.Commits() && (s.table == nil || s.table.Lockable()) {
		return nil
	}
	r := txn.In(tx)
	err := s.known.session.Check(ctx, r, s.server)
	if err == nil && s.table != nil {
		err = s.table.CheckLockable(ctx, r, s.server)
	}
	return err
}

func (s *section) held() []holding.Lock {
	held := make([]holding.Lock, len(s.locks))
	for i, l := range s.locks {
		held[i] = l.Lock
	}
	return held
}
