package pessimistic

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// Option changes how a lock is taken, or how its transaction is run. A bad Option, two that contradict each other, and
// one that the call or the server has no use for are errors before anything is locked.
type Option interface {
	apply(c *config) error
}

// config is what the options add up to.
type config struct {
	mode      dialect.LockMode
	noWait    bool
	timeout   time.Duration // 0: none
	isolation sql.IsolationLevel
	policy    txn.Policy
	dialect   nogap.Dialect

	skipLocked bool // Claim

	given []kind // what has been set, in the order given
}

// kind names what an option sets.
type kind string

const (
	modeOption      kind = "the lock mode"
	noWaitOption    kind = "NoWait"
	timeoutOption   kind = "Timeout"
	isolationOption kind = "Isolation"
	attemptsOption  kind = "MaxAttempts"
	backoffOption   kind = "Backoff"
	dialectOption   kind = "WithDialect"
)

type option struct {
	kind kind
	set  func(c *config) error
}

func (o option) apply(c *config) error {
	if slices.Contains(c.given, o.kind) {
		return fmt.Errorf("%s is given twice", o.kind)
	}
	c.given = append(c.given, o.kind)
	return o.set(c)
}

// configure applies the options and refuses those of the kinds that make no sense for the call.
func configure(opts []Option, senseless ...kind) (config, error) {
	var c config
	for i, o := range opts {
		if o == nil {
			return config{}, fmt.Errorf("option %d is nil", i)
		}
		if err := o.apply(&c); err != nil {
			return config{}, err
		}
	}
	for _, k := range senseless {
		if slices.Contains(c.given, k) {
			return config{}, fmt.Errorf("%s means nothing here", k)
		}
	}
	if c.noWait && c.timeout > 0 {
		return config{}, errors.New("NoWait and Timeout contradict each other")
	}
	return c, nil
}

func mode(m dialect.LockMode) Option {
	return option{modeOption, func(c *config) error { c.mode = m; return nil }}
}

// ForUpdate locks rows against every other lock and every write. It is the default.
func ForUpdate() Option { return mode(dialect.ForUpdate) }

// ForNoKeyUpdate is ForUpdate for a callback that changes no key: rows that refer to this one by a foreign key can still
// be inserted. PostgreSQL only.
func ForNoKeyUpdate() Option { return mode(dialect.ForNoKeyUpdate) }

// ForShare locks rows against writes, but not against others that lock them for share. Not on SQLite and TiDB.
func ForShare() Option { return mode(dialect.ForShare) }

// ForKeyShare locks rows against deletion and changes of their keys only. PostgreSQL only.
func ForKeyShare() Option { return mode(dialect.ForKeyShare) }

// NoWait makes the call fail with ErrLocked, at once, if the lock is held. That includes callers in this process that
// hold it or queue for it. Not on SQLite, which can't say who would be waited for.
func NoWait() Option {
	return option{noWaitOption, func(c *config) error { c.noWait = true; return nil }}
}

// Timeout bounds the time spent waiting for locks, in this process and in the server, all attempts together; it ends
// with ErrLockTimeout. The time that the callback takes does not count, nor does the wait for a connection, for which
// there is ctx. MySQL and TiDB count in whole seconds, so what is left is rounded up there; the others in milliseconds.
func Timeout(d time.Duration) Option {
	return option{timeoutOption, func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("Timeout(%v) is not positive", d)
		}
		c.timeout = d
		return nil
	}}
}

// Isolation sets the isolation level of the transaction: sql.LevelReadUncommitted, LevelReadCommitted,
// LevelRepeatableRead or LevelSerializable. Without it the transaction has the server's default, except that Claim uses
// READ COMMITTED on MySQL and MariaDB. SQLite's transactions are serializable whatever is asked for.
func Isolation(level sql.IsolationLevel) Option {
	return option{isolationOption, func(c *config) error {
		switch level {
		case sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable:
			c.isolation = level
			return nil
		}
		return fmt.Errorf("Isolation(%v): no server that nogap supports has this level", level)
	}}
}

// MaxAttempts is how often the callback may be run when its transaction loses against others: 50 unless it is given.
// MaxAttempts(1) runs it once.
func MaxAttempts(n int) Option {
	return option{attemptsOption, func(c *config) error {
		if n < 1 {
			return fmt.Errorf("MaxAttempts(%d) is less than 1", n)
		}
		c.policy.MaxAttempts = n
		return nil
	}}
}

// Backoff sets how long to wait before the next attempt, given the number of those that have failed. Unless it is
// given, the wait is a random time of up to 2 ms after the first, and up to 250 ms from the eighth on. f must be safe
// for concurrent use.
func Backoff(f func(failed int) time.Duration) Option {
	return option{backoffOption, func(c *config) error {
		if f == nil {
			return errors.New("Backoff(nil)")
		}
		c.policy.Backoff = f
		return nil
	}}
}

// WithDialect says what the database speaks, so that it is not asked.
func WithDialect(d nogap.Dialect) Option {
	return option{dialectOption, func(c *config) error {
		if _, err := dialect.Assume(d); err != nil {
			return fmt.Errorf("WithDialect: %w", err)
		}
		c.dialect = d
		return nil
	}}
}
