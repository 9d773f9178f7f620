package pessimistic

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
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
	callback func(ctx context.Context, tx *sqlx.Tx) error
	refused  error // what the callback returned last
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
	err := txn.Retry{Policy: s.policy, Again: again}.Do(ctx, func(n int) error {
		s.waited.op.Attempt(n)
		return s.attempt(ctx)
	})
	if s.refused != nil && !errors.Is(err, nogap.ErrRetriesExhausted) {
		s.waited.op.CallbackFailed()
	}
	return err
}

// again reports whether an attempt that failed is repeated. SQLite has one code for a lock that NoWait does not wait for
// and for others.
func again(err error) bool { return nogap.Retryable(err) && !errors.Is(err, ErrLocked) }

// checkFree returns an error if one of the locks is held by a transaction in whose callback the call is made.
func (s *section) checkFree(ctx context.Context) error {
	for _, l := range s.locks {
		if err := holding.Check(ctx, s.db, s.mode.Exclusive(), l.Lock); err != nil {
			return l.failed(err)
		}
	}
	return nil
}

// attempt runs one transaction.
func (s *section) attempt(ctx context.Context) error {
	inServer := &session{config: &s.config, server: s.server, waited: &s.waited}
	locked := false
	s.refused = nil
	err := s.transaction(ctx, inServer, func(tx *sqlx.Tx) error {
		inServer.tx = tx
		if err := s.acquire(ctx, inServer); err != nil {
			return err
		}
		// The callback's own statements wait as long as they would without nogap.
		if err := inServer.settings.undo(ctx, tx); err != nil {
			return err
		}
		locked = true
		ctx, end := holding.Begin(ctx, s.db, tx.Tx, s.server, s.mode.Exclusive(), s.held())
		defer end()
		s.refused = s.callback(ctx, tx)
		return s.refused
	})
	if locked {
		return fromCallback(err)
	}
	return fail(err)
}

func (s *section) held() []holding.Lock {
	held := make([]holding.Lock, len(s.locks))
	for i, l := range s.locks {
		held[i] = l.Lock
	}
	return held
}

// transaction runs fn in a transaction and commits it. It leaves nothing of it behind in the session.
func (s *section) transaction(ctx context.Context, inServer *session, fn func(tx *sqlx.Tx) error) error {
	// sqlx hands out a transaction that knows its driver's name, by which it chooses placeholders, only from a connection
	// of its own.
	var (
		db   = sqlx.NewDb(s.db, s.server.BindName)
		conn *sqlx.Conn
		tx   *sqlx.Tx
	)
	options := txn.Options{
		Tx: s.txOptions(),
		Conn: func(ctx context.Context) (_ *sql.Conn, err error) {
			if conn, err = db.Connx(ctx); err != nil {
				return nil, err
			}
			return conn.Conn, nil
		},
		Begin: func(ctx context.Context, _ *sql.Conn, opts *sql.TxOptions) (*sql.Tx, error) {
			err := inServer.begin(ctx, s.what, conn.Conn, func() (err error) {
				tx, err = conn.BeginTxx(ctx, opts)
				return err
			})
			if err != nil {
				return nil, err
			}
			return tx.Tx, nil
		},
	}
	if !s.server.LocalSettings { // elsewhere everything ends with the transaction
		options.After = inServer.undo
	}
	return txn.DoWith(ctx, s.db, options, func(*sql.Tx) error { return fn(tx) })
}

func (s *section) txOptions() *sql.TxOptions {
	// A driver may refuse a level by name, although it always gives the highest one.
	if s.isolation == sql.LevelDefault || s.server.FixedIsolation {
		return nil
	}
	return &sql.TxOptions{Isolation: s.isolation}
}
