package atomic

import (
	"database/sql"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
)

// Option changes what a constructor assumes. An invalid one, and one that is given twice, is the constructor's error.
type Option interface {
	option() option.Option[table.Options]
}

type tableOption option.Option[table.Options]

func (o tableOption) option() option.Option[table.Options] { return option.Option[table.Options](o) }

// WithKey names the columns that identify a row, instead of "id". Together they must be unique; the methods take one
// value for each, in this order.
func WithKey(columns ...string) Option {
	return tableOption(table.WithKey(columns, func(o *table.Options, key []dialect.Ident) { o.Key = key }))
}

// WithDialect says which SQL the database speaks, so that the server is not asked. Only the SQL that all versions of
// that server understand is used then.
func WithDialect(d nogap.Dialect) Option {
	return tableOption(table.WithDialect(d, func(o *table.Options, d nogap.Dialect) { o.Dialect = d }))
}

// bind returns the table that the options describe, and the names of those that were given.
func bind(db *sql.DB, name string, opts []Option) (*table.Table, option.Given, error) {
	o := table.Options{Classify: classify}
	given, err := option.Apply(&o, opts, Option.option)
	if err != nil {
		return nil, nil, err
	}
	t, err := table.Bind(db, name, o)
	return t, given, err
}
