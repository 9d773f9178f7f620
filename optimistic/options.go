package optimistic

import (
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// Option changes what NewTable assumes. A bad one is NewTable's error; of two of a kind the last one counts.
type Option interface {
	applyTable(*options) error
}

// RetryOption changes how a lost attempt is repeated: for NewTable as well as for RetryOnVersionConflict.
type RetryOption interface {
	Option
	applyPolicy(*policy) error
}

type options struct {
	dialect   nogap.Dialect
	key       []dialect.Ident
	version   dialect.Ident
	lockAfter int
	policy    policy
}

type tableOption func(*options) error

func (f tableOption) applyTable(o *options) error { return f(o) }

type policyOption func(*policy) error

func (f policyOption) applyTable(o *options) error { return f(&o.policy) }
func (f policyOption) applyPolicy(p *policy) error { return f(p) }

// VersionColumn names the column that holds the version, instead of "version". What kind of version it is follows from
// the type of T's field; see the package documentation. "xmin" is PostgreSQL's own.
func VersionColumn(name string) Option {
	return tableOption(func(o *options) (err error) {
		o.version, err = dialect.Column(name)
		return err
	})
}

// WithKey names the columns that identify a row, instead of "id". Together they must be unique. The methods take one
// value for each, in this order.
func WithKey(columns ...string) Option {
	return tableOption(func(o *options) (err error) {
		if len(columns) == 0 {
			return errors.New("WithKey names no column")
		}
		o.key, err = dialect.Columns(columns...)
		return err
	})
}

// MaxAttempts says how many attempts are made before giving up, instead of 50. It counts the first one: MaxAttempts(1)
// never tries again.
func MaxAttempts(n int) RetryOption {
	return policyOption(func(p *policy) error {
		if n < 1 {
			return fmt.Errorf("MaxAttempts(%d) is less than 1", n)
		}
		p.attempts = n
		return nil
	})
}

// Backoff says how long to wait after a number of lost attempts, 1 or more, instead of a random time of up to 2 ms after
// the first and up to 250 ms after the eighth. Zero or less is not to wait. f is called by many goroutines at once.
func Backoff(f func(lost int) time.Duration) RetryOption {
	return policyOption(func(p *policy) error {
		if f == nil {
			return errors.New("Backoff(nil): a function is needed")
		}
		p.backoff = f
		return nil
	})
}

// LockAfter makes Modify take the row lock, with SELECT … FOR UPDATE in a transaction, for every attempt after n lost
// ones, so that the next attempt cannot be lost to others. Without it Modify never takes a lock that outlives a
// statement.
//
// In such a turn the callback runs inside the transaction, while a connection is held and everybody else who writes the
// row waits. A callback that itself writes to the database may then wait for ever for a lock that its own Modify holds,
// or for a connection of a pool that is used up: it must leave the database alone.
func LockAfter(n int) Option {
	return tableOption(func(o *options) error {
		if n < 1 {
			return fmt.Errorf("LockAfter(%d) is less than 1", n)
		}
		o.lockAfter = n
		return nil
	})
}

// WithDialect says which SQL the database speaks, so that the server is not asked. Only the SQL that all versions of
// that server understand is used then.
func WithDialect(d nogap.Dialect) Option {
	return tableOption(func(o *options) error {
		_, err := dialect.Assume(d)
		o.dialect = d
		return err
	})
}

func defaultPolicy() policy {
	return policy{attempts: txn.DefaultMaxAttempts, backoff: txn.DefaultBackoff}
}

func newPolicy(opts []RetryOption) (policy, error) {
	p := defaultPolicy()
	for i, opt := range opts {
		if opt == nil {
			return p, fmt.Errorf("optimistic: option %d is nil", i)
		}
		if err := opt.applyPolicy(&p); err != nil {
			return p, fmt.Errorf("optimistic: %w", err)
		}
	}
	return p, nil
}

func newOptions(opts []Option) (options, error) {
	o := options{policy: defaultPolicy()}
	o.key, _ = dialect.Columns("id")
	o.version, _ = dialect.Column("version")
	for i, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("option %d is nil", i)
		}
		if err := opt.applyTable(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}
