package transaction

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/option"
)

// Option changes how Run runs a transaction. An invalid Option, one that is given twice and two that contradict each other
// are errors before anything is sent.
type Option interface {
	option() option.Option[config]
}

type runOption option.Option[config]

func (o runOption) option() option.Option[config] { return option.Option[config](o) }

// config is what the options add up to.
type config struct {
	callback.Options
	readOnly bool
}

func (c *config) shared() *callback.Options { return &c.Options }

// configure applies the options.
func configure(opts []Option) (config, error) {
	var c config
	given, err := option.Apply(&c, opts, Option.option)
	if err == nil && given.Has("Isolation") && given.Has("Serializable") {
		err = errors.New("Isolation and Serializable contradict each other")
	}
	return c, err
}

// Isolation sets the isolation level of the transaction: sql.LevelReadUncommitted, LevelReadCommitted,
// LevelRepeatableRead or LevelSerializable. Without it the transaction has the server's default. SQLite's transactions
// are serializable whatever is asked for.
func Isolation(level sql.IsolationLevel) Option {
	return runOption(callback.Isolation(level, (*config).shared))
}

// Serializable is Isolation(sql.LevelSerializable). The transaction has the effect that it would have if no other ran
// at the same time, so what it reads may decide what it writes. For that, all transactions that meet on the same rows
// must be serializable. The server ends those that would break the rule, and Run runs them again.
func Serializable() Option {
	return runOption{Name: "Serializable", Set: func(c *config) error {
		c.Isolation = sql.LevelSerializable
		return nil
	}}
}

// ReadOnly makes the transaction one that only reads. PostgreSQL, MySQL and MariaDB refuse to write in it. On SQLite
// it does not take the write lock, so calls on db in the callback may write. Whether SQLite refuses a write in the
// transaction depends on the driver.
func ReadOnly() Option {
	return runOption{Name: "ReadOnly", Set: func(c *config) error { c.readOnly = true; return nil }}
}

// MaxAttempts is how many transactions are begun when they lose against others: 50 unless it is given. With
// MaxAttempts(1) nothing is run again.
func MaxAttempts(n int) Option {
	return runOption(callback.MaxAttempts(n, (*config).shared))
}

// Backoff sets how long to wait before the next attempt. f gets the number of attempts that have failed. Unless
// Backoff is given, the wait is a random time of up to 2 ms after the first, and of up to 250 ms from the eighth on.
// f must be safe for concurrent use.
func Backoff(f func(failed int) time.Duration) Option {
	return runOption(callback.Backoff(f, (*config).shared))
}

// Before sets a function that is called first in every transaction, with the ctx and the tx that the callback gets.
// It is the place for SET LOCAL, by which row level security knows the tenant, for example. If it returns an error,
// the transaction is rolled back, and Run returns the error as it is.
func Before(f func(ctx context.Context, tx *sqlx.Tx) error) Option {
	return runOption(callback.Before(f, (*config).shared))
}

// WithDialect says which SQL the database speaks, so that the server is not asked.
func WithDialect(d nogap.Dialect) Option {
	return runOption(callback.WithDialect(d, (*config).shared))
}
