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

// WithKey names the columns that identify a row, instead of "id". Together they must be unique. The methods take one
// value for each, in this order.
func WithKey(columns ...string) Option {
	return tableOption(table.WithKey(columns, func(o *options, key []dialect.Ident) { o.Key = key }))
}

// WithDialect says which SQL the database speaks, so that the server is not asked. Then only the SQL is used that all
// supported versions of that server understand.
func WithDialect(d nogap.Dialect) Option {
	return tableOption(table.WithDialect(d, func(o *options, d nogap.Dialect) { o.Dialect = d }))
}

// VersionColumn names the integer column whose version package optimistic compares. The statement that changes the
// row adds 1 to the version as well; after NULL comes 1. So a write that was decided from the version before is
// refused. A call that writes nothing leaves the version alone: a refusal, an amount of zero, a batch of a Coalescer
// whose calls add up to zero. A CompareAndSet of equal values counts the version up.
//
// The option is needed where an optimistic.Table writes the column that is changed here. See the package
// documentation. Only integers can be counted up: with a timestamp or a token the first use returns an error. BIGINT
// is the type to choose. If the version is the highest number that its column holds, the server refuses the change.
// Increment then returns the server's error within ErrLimit.
//
// NewSet does not take the option. NewCounter and NewState return an error if the version column is the changed
// column itself or part of the key. They also return one for PostgreSQL's xmin, which changes by itself.
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
