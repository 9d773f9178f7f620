package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
)

// Option changes how a lock is taken, or how its transaction is run. An invalid Option, one that is given twice, two that
// contradict each other, and one that the call or the server has no use for are errors before anything is locked.
type Option interface {
	option() option.Option[config]
}

type callOption option.Option[config]

func (o callOption) option() option.Option[config] { return option.Option[config](o) }

// config is what the options add up to.
type config struct {
	callback.Options
	mode     dialect.LockMode
	modeName string // the option that has set the mode
	noWait   bool
	timeout  time.Duration // 0: none
}

func (c *config) shared() *callback.Options { return &c.Options }

// configure applies the options.
func configure(opts []Option) (config, option.Given, error) {
	var c config
	given, err := option.Apply(&c, opts, Option.option)
	if err == nil && c.noWait && c.timeout > 0 {
		err = errors.New("NoWait and Timeout contradict each other")
	}
	return c, given, err
}

func mode(name string, m dialect.LockMode) Option {
	return callOption{Name: name, Set: func(c *config) error {
		if c.modeName != "" {
			return fmt.Errorf("%s and %s contradict each other", c.modeName, name)
		}
		c.mode, c.modeName = m, name
		return nil
	}}
}

// ForUpdate locks rows against every other lock and every write. It is the default.
func ForUpdate() Option { return mode("ForUpdate", dialect.ForUpdate) }

// ForNoKeyUpdate is ForUpdate for a callback that changes no key: rows that refer to this one by a foreign key can
// still be inserted. It is an error elsewhere than on PostgreSQL.
func ForNoKeyUpdate() Option { return mode("ForNoKeyUpdate", dialect.ForNoKeyUpdate) }

// ForShare locks rows against writes, but not against others that lock them for share. It is an error on SQLite and
// TiDB.
func ForShare() Option { return mode("ForShare", dialect.ForShare) }

// ForKeyShare locks rows only against deletion and against changes of their keys. It is an error elsewhere than on
// PostgreSQL.
func ForKeyShare() Option { return mode("ForKeyShare", dialect.ForKeyShare) }

// NoWait makes the call return ErrLocked at once if the lock is held. That includes callers in this process that hold
// the lock or queue for it. It is an error on SQLite, which can't say whether the call would have to wait.
func NoWait() Option {
	return callOption{Name: "NoWait", Set: func(c *config) error { c.noWait = true; return nil }}
}

// Timeout bounds the time spent waiting for locks, in this process and in the server, in all attempts together. When
// it is over, ErrLockTimeout is returned. The time of the callback does not count. Nor does the wait for a
// connection, which the context bounds. MySQL and TiDB count in whole seconds, so the time is rounded up there. The
// other servers count in milliseconds.
func Timeout(d time.Duration) Option {
	return callOption{Name: "Timeout", Set: func(c *config) error {
		c.timeout = d
		return option.Positive("Timeout", d)
	}}
}

// Isolation sets the isolation level of the transaction: sql.LevelReadUncommitted, LevelReadCommitted,
// LevelRepeatableRead or LevelSerializable. Without it the transaction has the server's default, except that Claim, and
// WithRowLocks with Rows.Where, use READ COMMITTED on MySQL and MariaDB. SQLite's transactions are serializable whatever is asked for.
func Isolation(level sql.IsolationLevel) Option {
	return callOption(callback.Isolation(level, (*config).shared))
}

// MaxAttempts is how many transactions are begun at most when they lose against others: 50 unless it is given. With
// MaxAttempts(1) nothing is run again.
func MaxAttempts(n int) Option {
	return callOption(callback.MaxAttempts(n, (*config).shared))
}

// Backoff sets how long to wait before the next attempt. f gets the number of attempts that have failed. Unless
// Backoff is given, the wait is a random time of up to 2 ms after the first, and of up to 250 ms from the eighth on.
// f must be safe for concurrent use.
func Backoff(f func(failed int) time.Duration) Option {
	return callOption(callback.Backoff(f, (*config).shared))
}

// Before runs f first in every transaction, before the lock is taken. f sets up the transaction, for row level
// security for example:
//
//	pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
//		_, err := tx.ExecContext(ctx, "SELECT set_config('app.tenant', $1, true)", tenant)
//		return err
//	})
//
// Its settings should end with the transaction (SET LOCAL), since the connection goes back to the pool. What f reads
// may be older than the lock. Under REPEATABLE READ and SERIALIZABLE, what fn reads then may be older too. If f
// returns an error, the transaction is rolled back, and the error is treated as fn's. f is run again with each
// attempt. A nil f is an error.
//
// Before is not an option of LockRow and LockRows, whose transaction is the caller's.
func Before(f func(ctx context.Context, tx *sqlx.Tx) error) Option {
	return callOption(callback.Before(f, (*config).shared))
}

// WithDialect says which SQL the database speaks, so that the server is not asked.
func WithDialect(d nogap.Dialect) Option {
	return callOption(callback.WithDialect(d, (*config).shared))
}
