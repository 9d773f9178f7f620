package atomic

import (
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// Option changes what a constructor assumes. A bad one is the constructor's error; of two of a kind the last one counts.
type Option interface {
	apply(*options) error
}

type options struct {
	dialect nogap.Dialect
	key     []dialect.Ident
	given   bool // key was
}

type optionFunc func(*options) error

func (f optionFunc) apply(o *options) error { return f(o) }

// WithKey names the columns that identify a row, instead of "id". Together they must be unique; the methods take one
// value for each, in this order.
func WithKey(columns ...string) Option {
	return optionFunc(func(o *options) error {
		if len(columns) == 0 {
			return fmt.Errorf("WithKey names no column")
		}
		key, err := dialect.Columns(columns...)
		o.key, o.given = key, true
		return err
	})
}

// WithDialect says which SQL the database speaks, so that the server is not asked. Only the SQL that all versions of
// that server understand is used then.
func WithDialect(d nogap.Dialect) Option {
	return optionFunc(func(o *options) error {
		_, err := dialect.Assume(d)
		o.dialect = d
		return err
	})
}

func newOptions(opts []Option) (options, error) {
	var o options
	for i, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("option %d is nil", i)
		}
		if err := opt.apply(&o); err != nil {
			return o, err
		}
	}
	if o.key == nil {
		o.key, _ = dialect.Columns("id")
	}
	return o, nil
}
