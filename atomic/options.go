package atomic

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
)

// Option changes what a constructor assumes. An invalid one, and one that is given twice, is the constructor's error.
type Option interface {
	option() option.Option[options]
}

type options struct {
	table.Options
	version *dialect.Ident // nil if none is counted up
	where   string         // a further condition, in brackets; empty if there is none
	creates bool           // CreateMissing
	use     useOptions
}

type tableOption option.Option[options]

func (o tableOption) option() option.Option[options] { return option.Option[options](o) }

// WithKey names the columns that identify a row, instead of "id". Together they must be unique; the methods take one
// value for each, in this order.
func WithKey(columns ...string) Option {
	return tableOption(table.WithKey(columns, func(o *options, key []dialect.Ident) { o.Key = key }))
}

// WithDialect says which SQL the database speaks, so that the server is not asked. Only the SQL that all versions of
// that server understand is used then.
func WithDialect(d nogap.Dialect) Option {
	return tableOption(table.WithDialect(d, func(o *options, d nogap.Dialect) { o.Dialect = d }))
}

// VersionColumn names the integer column whose version package optimistic compares. The statement that changes the row
// counts it up too, by one for each statement; after NULL comes 1. So a version that was read before no longer wins. What
// writes nothing counts nothing up: a refusal, an amount of zero, a batch of a Coalescer whose calls add up to zero. A
// CompareAndSet of equal values counts.
//
// It is needed where an optimistic.Table writes the column that is counted here; see the package documentation. Only
// integers can be counted up: a timestamp or a token is an error of the first use. BIGINT is the type to choose. A version
// that is the highest of its column's type is the server's error, and Increment then returns it within ErrLimit.
//
// NewSet does not take the option. NewCounter and NewState return an error for a version column that is the column itself
// or part of the key, and for PostgreSQL's xmin, which changes by itself.
func VersionColumn(name string) Option {
	return tableOption{Name: "VersionColumn", Set: func(o *options) error {
		version, err := dialect.Column(name)
		switch {
		case err != nil:
			return fmt.Errorf("VersionColumn: %w", err)
		case name == "xmin":
			return errors.New("VersionColumn(\"xmin\"): the server itself changes xmin with each write, so leave the option out")
		}
		o.version = &version
		return nil
	}}
}

// bind returns the table that the options describe, the options, and the names of those that were given.
func bind(db *sql.DB, name string, opts []Option) (*table.Table, options, option.Given, error) {
	o := options{Options: table.Options{Classify: classify}}
	given, err := option.Apply(&o, opts, Option.option)
	if err != nil {
		return nil, o, nil, err
	}
	t, err := table.Bind(db, name, o.Options)
	return t, o, given, err
}
