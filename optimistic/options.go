package optimistic

import (
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// Option changes what NewTable assumes. An invalid one, and one that is given twice, is NewTable's error.
type Option interface {
	forTable() option.Option[options]
}

// RetryOption changes how a lost attempt is repeated: for NewTable as well as for RetryOnVersionConflict, which returns
// an error for an invalid one and for one that is given twice.
type RetryOption interface {
	Option
	forRetry() option.Option[txn.Policy]
}

type options struct {
	table.Options
	version   dialect.Ident
	readOnly  []dialect.Ident
	lockAfter int
}

type tableOption option.Option[options]

func (o tableOption) forTable() option.Option[options] { return option.Option[options](o) }

type retryOption option.Option[txn.Policy]

func (o retryOption) forTable() option.Option[options] {
	return option.Option[options]{Name: o.Name, Set: func(c *options) error { return o.Set(&c.Policy) }}
}

func (o retryOption) forRetry() option.Option[txn.Policy] { return option.Option[txn.Policy](o) }

// VersionColumn names the column that holds the version, instead of "version". What kind of version it is follows from
// the type of T's field; see the package documentation. "xmin" is PostgreSQL's own.
func VersionColumn(name string) Option {
	return tableOption{Name: "VersionColumn", Set: func(o *options) (err error) {
		if o.version, err = dialect.Column(name); err != nil {
			return fmt.Errorf("VersionColumn: %w", err)
		}
		return nil
	}}
}

// ReadOnly names columns that the Table reads and never writes, such as a stock that an atomic.Counter changes.
// Update leaves them alone, whatever the item has in their fields. If the function of a Modify changes one, Modify
// returns an error that names the column, and nothing is written.
//
// The version says nothing about such a column if those who write it don't count the version up. Then a decision that
// Modify makes from its value may be out of date when it is written. If no column is left to write, Update only
// counts the version up. With xmin, which only changes with a write, that is an error of NewTable. So is a column
// without a field, and a column of the key or of the version.
func ReadOnly(columns ...string) Option {
	return tableOption{Name: "ReadOnly", Set: func(o *options) (err error) {
		if len(columns) == 0 {
			return errors.New("ReadOnly names no column")
		}
		if o.readOnly, err = dialect.Columns(columns...); err != nil {
			return fmt.Errorf("ReadOnly: %w", err)
		}
		return nil
	}}
}

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

// MaxAttempts says how many attempts are made before the call gives up, instead of 50. The first one counts:
// MaxAttempts(1) never tries again.
func MaxAttempts(n int) RetryOption {
	return retryOption(txn.MaxAttempts(n, samePolicy))
}

// Backoff says how long to wait before the next attempt. f gets the number of lost attempts, 1 or more. Unless
// Backoff is given, the wait is a random time of up to 2 ms after the first lost attempt, and of up to 250 ms from
// the eighth on. Zero or less means no wait. Many goroutines may call f at the same time.
func Backoff(f func(lost int) time.Duration) RetryOption {
	return retryOption(txn.Backoff(f, samePolicy))
}

// LockAfter makes Modify take the row lock for every attempt after n lost ones, with SELECT … FOR UPDATE in a
// transaction. Such an attempt cannot be lost to others. Without LockAfter, Modify never takes a lock that lasts
// longer than a statement.
//
// In such an attempt the callback runs inside the transaction. Meanwhile a connection is held, and everybody else who
// writes the row waits. So the callback must not use the database: it might wait for ever for a lock that its own
// Modify holds, or for a connection of a pool that is used up.
func LockAfter(n int) Option {
	return tableOption{Name: "LockAfter", Set: func(o *options) error {
		o.lockAfter = n
		return option.AtLeastOne("LockAfter", n)
	}}
}

func newOptions(opts []Option) (options, error) {
	o := options{Options: table.Options{Classify: classify}}
	o.version, _ = dialect.Column("version")
	_, err := option.Apply(&o, opts, Option.forTable)
	return o, err
}

func samePolicy(p *txn.Policy) *txn.Policy { return p }

func newPolicy(opts []RetryOption) (txn.Policy, error) {
	var p txn.Policy
	_, err := option.Apply(&p, opts, RetryOption.forRetry)
	return p, err
}
