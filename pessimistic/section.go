package pessimistic

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
)

// section is a call that runs a callback in a transaction that holds locks: a critical section.
type section struct {
	config
	db     *sql.DB
	known  *database
	server dialect.Server
	waited waited

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
		Callback: s.callback, Locks: s.held(), Exclusive: s.mode.Exclusive(),
	}
	return call.Run(ctx, s.attempt)
}

// checkFree returns an error if one of the locks is held by a transaction in whose callback the call is made.
func (s *section) checkFree(ctx context.Context) error {
	for _, l := range s.locks {
		if err := holding.Check(ctx, s.db, s.mode.Exclusive(), l.Lock); err != nil {
			return l.failed(err)
		}
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
			return inServer.settings.undo(ctx, tx)
		},
		Failed: fail,
	}
	if !s.server.LocalSettings { // elsewhere everything ends with the transaction
		a.After = inServer.undo
	}
	return a
}

func (s *section) held() []holding.Lock {
	held := make([]holding.Lock, len(s.locks))
	for i, l := range s.locks {
		held[i] = l.Lock
	}
	return held
}
