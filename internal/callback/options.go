package callback

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// Options are what the options say that every package has that runs a callback in a transaction.
type Options struct {
	Isolation sql.IsolationLevel
	// Policy says how often the transaction is run, and how long to wait in between.
	Policy txn.Policy
	// Before is a callback that runs first in every transaction, before Enter. Nil does nothing.
	Before Func
	// Dialect is what the server is said to speak; zero if it is to be asked.
	Dialect nogap.Dialect
}

// Isolation is the option of that name. of returns the Options in what the options of the package change; it is the same
// for all of these.
func Isolation[C any](level sql.IsolationLevel, of func(*C) *Options) option.Option[C] {
	return option.Option[C]{Name: "Isolation", Set: func(c *C) error {
		switch level {
		case sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable:
			of(c).Isolation = level
			return nil
		}
		return fmt.Errorf("Isolation(%v): no server that nogap supports has this level", level)
	}}
}

// MaxAttempts is the option of that name.
func MaxAttempts[C any](n int, of func(*C) *Options) option.Option[C] {
	return txn.MaxAttempts(n, func(c *C) *txn.Policy { return &of(c).Policy })
}

// Backoff is the option of that name.
func Backoff[C any](f func(failed int) time.Duration, of func(*C) *Options) option.Option[C] {
	return txn.Backoff(f, func(c *C) *txn.Policy { return &of(c).Policy })
}

// Before is the option of that name.
func Before[C any](f Func, of func(*C) *Options) option.Option[C] {
	return option.Option[C]{Name: "Before", Set: func(c *C) error {
		of(c).Before = f
		return option.NotNil("Before", f == nil)
	}}
}

// WithDialect is the option of that name.
func WithDialect[C any](d nogap.Dialect, of func(*C) *Options) option.Option[C] {
	return table.WithDialect(d, func(c *C, d nogap.Dialect) { of(c).Dialect = d })
}

// Server returns the server of db: what the caller says that it is, else what it says itself.
func (o *Options) Server(ctx context.Context, db *sql.DB) (dialect.Server, error) {
	source, err := dialect.NewSource(db, o.Dialect)
	if err != nil {
		return dialect.Server{}, err
	}
	return source.Server(ctx, txn.Pool{DB: db})
}
