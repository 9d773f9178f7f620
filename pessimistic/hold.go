package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// hold is one call that holds locks around a callback.
type hold struct {
	config
	db     *sql.DB
	server dialect.Server
	clause string // of the SELECT that locks rows
	pool   *pool
	waited time.Duration // for locks, so far
}

func newHold(ctx context.Context, db *sql.DB, c config) (*hold, error) {
	if db == nil {
		return nil, errNoDB
	}
	h := &hold{config: c, db: db, pool: poolOf(db)}
	var err error
	if c.dialect != 0 {
		h.server, err = dialect.Assume(c.dialect)
	} else {
		h.server, err = h.pool.source.Server(ctx, db)
	}
	if err != nil {
		return nil, err
	}
	h.clause, err = c.clause(h.server)
	return h, err
}

// run takes locks in this process, and then, in a transaction of every attempt, those in the server by calling inServer.
// With them it calls fn.
func (h *hold) run(ctx context.Context, locks []lock, inServer func(context.Context, *locker, *sqlx.Tx) error, fn func(context.Context, *sqlx.Tx) error) error {
	if h.server.Is(nogap.SQLite) {
		locks = []lock{{}} // every lock is that of the whole database
	}
	if err := h.checkNesting(ctx, locks); err != nil {
		return failed(err)
	}
	if h.mode.Exclusive() {
		turns, err := h.queue(ctx, locks)
		defer turns.done()
		if err != nil {
			return err
		}
	}
	var decided error
	err := txn.Retry(ctx, h.policy, func() error {
		err := h.attempt(ctx, locks, inServer, fn)
		if final(err) {
			decided = err
			return nil
		}
		return err
	})
	if decided != nil {
		return decided
	}
	return err
}

// attempt runs one transaction.
func (h *hold) attempt(ctx context.Context, locks []lock, inServer func(context.Context, *locker, *sqlx.Tx) error, fn func(context.Context, *sqlx.Tx) error) error {
	var (
		// sqlx hands out a transaction that knows its driver's name, by which it chooses placeholders, only from a
		// connection of its own.
		db     = sqlx.NewDb(h.db, driverNames[h.server.Dialect])
		conn   *sqlx.Conn
		tx     *sqlx.Tx
		l      = &locker{config: &h.config, server: h.server, waited: &h.waited}
		locked = false
	)
	options := txn.Options{
		Tx: h.txOptions(),
		Conn: func(ctx context.Context) (_ *sql.Conn, err error) {
			if conn, err = db.Connx(ctx); err != nil {
				return nil, err
			}
			return conn.Conn, nil
		},
		Begin: func(ctx context.Context, _ *sql.Conn, opts *sql.TxOptions) (*sql.Tx, error) {
			err := l.begin(ctx, conn.Conn, func() (err error) {
				tx, err = conn.BeginTxx(ctx, opts)
				return err
			})
			if err != nil {
				return nil, err
			}
			return tx.Tx, nil
		},
	}
	if !h.server.Is(nogap.Postgres) { // where everything ends with the transaction
		options.After = l.undo
	}
	err := txn.DoWith(ctx, h.db, options, func(*sql.Tx) error {
		if err := inServer(ctx, l, tx); err != nil {
			return err
		}
		// The callback's own statements wait as long as they would without nogap.
		if err := l.settings.undo(ctx, tx); err != nil {
			return err
		}
		locked = true
		held := &holding{outer: around(ctx), pool: h.pool, locks: locks, exclusive: h.mode.Exclusive(), tx: tx.Tx, server: h.server}
		defer held.ended.Store(true)
		return fn(context.WithValue(ctx, holdingKey{}, held), tx)
	})
	if err != nil && !locked {
		return l.classify(err)
	}
	return err
}

// driverNames are what sqlx calls drivers of the dialects.
var driverNames = map[nogap.Dialect]string{
	nogap.Postgres: "postgres",
	nogap.MySQL:    "mysql",
	nogap.MariaDB:  "mysql",
	nogap.SQLite:   "sqlite3",
}

func (h *hold) txOptions() *sql.TxOptions {
	// An SQLite driver may refuse a level by name, but gives the highest one always.
	if h.isolation == sql.LevelDefault || h.server.Is(nogap.SQLite) {
		return nil
	}
	return &sql.TxOptions{Isolation: h.isolation}
}

// clause returns the end of the SELECT that locks rows, or says which option the server does not have.
func (c config) clause(s dialect.Server) (string, error) {
	clause, err := s.LockClause(c.mode, dialect.Wait)
	if err != nil {
		return "", fmt.Errorf("%s: %w", modeNames[c.mode], err)
	}
	wait, name := dialect.Wait, ""
	switch {
	case c.noWait:
		wait, name = dialect.NoWait, "NoWait"
	case c.skipLocked && !s.Is(nogap.SQLite): // who holds SQLite's write lock has nothing to skip
		wait, name = dialect.SkipLocked, "Claim"
	default:
		return clause, nil
	}
	if clause, err = s.LockClause(c.mode, wait); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return clause, nil
}

var modeNames = map[dialect.LockMode]string{
	dialect.ForUpdate:      "ForUpdate",
	dialect.ForNoKeyUpdate: "ForNoKeyUpdate",
	dialect.ForShare:       "ForShare",
	dialect.ForKeyShare:    "ForKeyShare",
}
