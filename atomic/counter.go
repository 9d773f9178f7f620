package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// Counter changes one numeric column of a table's rows, such as a stock, a balance or a quota. N is the Go type of
// its values. Any type works that the driver binds and scans. Integer types fit integer columns. For NUMERIC and
// DECIMAL columns N is a string or a decimal type. The server does the arithmetic, so nothing is rounded. (SQLite has
// no exact decimals. The server rounds an amount that has more decimal places than the column, as in any assignment.)
//
// An amount must not be negative: that is an error, and nothing is sent. The key values are the last parameters of a
// method. There is one for each key column, in the order of WithKey.
//
// A change that succeeds costs one round trip. It returns the value that it has left in the row, even if others have
// changed the row since. (On MySQL and MariaDB it costs a transaction of four round trips if N is no integer type, or
// if the table has a trigger BEFORE UPDATE.) A refusal costs a second round trip, and returns the value that is in
// the row. With any other error the returned value is zero.
//
// # Errors and contexts
//
//   - A *RefusedError is returned when the guard of the method does not hold. Nothing was written.
//   - sql.ErrNoRows is returned, wrapped, when no row has the key.
//   - nogap.ErrNotUnique is returned when several rows have the key.
//   - nogap.ErrLockTimeout is returned when the row was locked for longer than the server lets a statement wait.
//   - ErrRetriesExhausted is returned after 50 attempts that ended in a deadlock, a serialization failure or a busy
//     SQLite. Between two attempts there is a random pause.
//   - nogap.ErrOutcomeUnknown is returned when the connection was lost, or was given up, while the statement was under
//     way.
//   - An error that names the column is returned when the column is NULL.
//
// If ctx ends before the statement is sent, the method returns ctx's error and nothing was written. If ctx ends while
// the statement is under way, the method waits for the answer for up to one second. If the answer comes, that is what
// the method returns: so it may return nil although ctx has ended. Without an answer the error is
// nogap.ErrOutcomeUnknown and ctx's error. A read is not waited for.
//
// In a callback of nogap, a method returns an error at once if the callback's transaction has locked the row, because
// the method would wait for that transaction. Use WithTx with the callback's tx instead.
//
// A Counter is safe for concurrent use.
type Counter[N any] struct {
	column
}

// NewCounter returns the Counter of a column. The table may be qualified by its schema. It returns an error if db is
// nil, if a name is empty or an option is invalid. Nothing is sent to the server: a table, column or key that does
// not exist is an error at the first use.
//
// A column that an optimistic.Table of the same *sql.DB writes needs VersionColumn. Without it NewCounter returns an
// error. If the names of the table are spelt in two ways, the first use returns it. See "Together on one table" in
// the package documentation.
func NewCounter[N any](db *sql.DB, table, column string, opts ...Option) (*Counter[N], error) {
	c, err := newColumn(db, table, column, numberOf[N](), opts)
	if err != nil {
		return nil, fail(err)
	}
	return &Counter[N]{c}, nil
}

// WithTx returns a Counter whose statements are part of tx, the caller's own transaction on the same database.
// Nothing is tried again there. After an error that is neither a *RefusedError nor sql.ErrNoRows, roll tx back. If
// nogap.Retryable is true for the error, run the whole transaction again. (Under REPEATABLE READ PostgreSQL returns
// such an error, 40001, if the row has changed since the first statement of the transaction. MariaDB from 11.6.2 on
// returns 1020.) The Counter is as safe for concurrent use as tx is.
//
// What is no transaction (nil or a *sql.DB, for example; see [nogap.Tx]) makes every method return an error, and
// nothing is sent.
func (c *Counter[N]) WithTx(tx nogap.Tx) *Counter[N] { return &Counter[N]{c.in(tx)} }

// DecrementIfPositive takes 1 if there is 1 to take, and returns what is left. Otherwise the error is
// ErrInsufficient. See [Counter] for the other errors and for the end of ctx.
func (c *Counter[N]) DecrementIfPositive(ctx context.Context, key ...any) (N, error) {
	return c.observed(ctx, "atomic.DecrementIfPositive", key, decrementOne)
}

// Decrement takes n from the row if there is that much, and returns what is left. Otherwise the error is
// ErrInsufficient. The amount comes first and the key last: stock.Decrement(ctx, 3, "sku-1") takes 3 from sku-1. See
// [Counter] for the other errors and for the end of ctx.
func (c *Counter[N]) Decrement(ctx context.Context, n N, key ...any) (N, error) {
	return c.observed(ctx, "atomic.Decrement", key, decrement, n)
}

// Increment adds n to the row, and returns the sum. If the sum is more than the column's type holds, the error is
// ErrLimit, whatever the sql_mode of MySQL or MariaDB is. The amount comes first and the key last:
// stock.Increment(ctx, 3, "sku-1") adds 3 to sku-1. See [Counter] for the other errors and for the end of ctx.
func (c *Counter[N]) Increment(ctx context.Context, n N, key ...any) (N, error) {
	return c.observed(ctx, "atomic.Increment", key, increment, n)
}

// IncrementUpTo adds n to the row if the sum is at most limit, and returns the sum. Otherwise the error is ErrLimit.
// The amount comes first, then the limit, and the key last: stock.IncrementUpTo(ctx, 3, 100, "sku-1"). See [Counter]
// for the other errors and for the end of ctx.
func (c *Counter[N]) IncrementUpTo(ctx context.Context, n, limit N, key ...any) (N, error) {
	return c.observed(ctx, "atomic.IncrementUpTo", key, incrementUpTo, n, limit)
}

// Get returns the value. It may be out of date when it arrives. To decide from it and then write is the gap that the
// other methods close. Get waits for no lock. In a transaction (WithTx) it returns what the transaction sees: under
// REPEATABLE READ that is the value of the transaction's snapshot.
//
// sql.ErrNoRows is returned, wrapped, when no row has the key, and nogap.ErrNotUnique when several have it. When ctx
// ends, Get returns ctx's error at once.
func (c *Counter[N]) Get(ctx context.Context, key ...any) (value N, err error) {
	err = c.t.Operation(ctx, "atomic.Get", func(ctx context.Context, op *observe.Op) error {
		value, err = c.get(ctx, op, key)
		return fail(err)
	})
	return value, err
}

func (c *Counter[N]) get(ctx context.Context, op *observe.Op, key Key) (value N, err error) {
	if err := c.t.CheckKey(key); err != nil {
		return value, err
	}
	q, err := c.statements(ctx)
	if err != nil {
		return value, err
	}
	var found sql.Null[N]
	err = c.t.Statement(ctx, op, func(r txn.Runner) error { return r.Read(ctx, q.get.Text, q.get.Args(key), &found) })
	switch {
	case err != nil:
		return value, c.at(key, err)
	case !found.Valid:
		return value, c.at(key, errNull)
	}
	return found.V, nil
}

// CompareAndSet replaces the value if it is old. Otherwise the error is ErrMismatch. Both values may be negative. If
// the value was changed and changed back, CompareAndSet does not notice it. See [Counter] for the other errors and
// for the end of ctx.
func (c *Counter[N]) CompareAndSet(ctx context.Context, old, new N, key ...any) error {
	for _, v := range []any{old, new} {
		if _, err := sign(v); err != nil {
			return c.t.Operation(ctx, "atomic.CompareAndSet", func(context.Context, *observe.Op) error { return c.failed(err, key) })
		}
	}
	return swap(ctx, &c.column, "atomic.CompareAndSet", old, new, key)
}

// observed makes a change, and shows it to those who observe the database.
func (c *Counter[N]) observed(ctx context.Context, name string, key Key, how change, amounts ...any) (value N, err error) {
	err = c.t.Operation(ctx, name, func(ctx context.Context, op *observe.Op) error {
		value, err = c.change(ctx, op, key, how, amounts...)
		return err
	})
	return value, err
}

// change makes a guarded update. The second amount is a limit, which may be negative.
func (c *Counter[N]) change(ctx context.Context, op *observe.Op, key Key, how change, amounts ...any) (value N, err error) {
	zero, err := checkAmounts(amounts)
	if err != nil {
		return value, c.failed(err, key)
	}
	if err = c.check(ctx, key); err != nil {
		return value, fail(err)
	}
	q, err := c.statements(ctx)
	if err != nil {
		return value, c.failed(err, key)
	}
	for _, n := range amounts {
		if err := q.checkAmount(n); err != nil {
			return value, c.failed(err, key)
		}
	}
	args := arguments(key, amounts...)
	if c.creates {
		value, err = c.changeOrCreate(ctx, op, &made{q: q, u: &q.updates[how], how: how, args: args, keys: len(key), zero: zero})
	} else {
		value, err = c.changeRow(ctx, op, &q.updates[how], args, zero)
	}
	if locked(q, zero, err) {
		c.t.Wrote(ctx, key)
	}
	if err != nil && !errors.As(err, new(*RefusedError)) {
		value = *new(N)
	}
	return value, c.failed(err, key)
}

// changeRow makes a change of a row that is there.
func (c *Counter[N]) changeRow(ctx context.Context, op *observe.Op, u *guardedUpdate, args []any, zero bool) (value N, err error) {
	apply := func(r txn.Runner) error {
		value, err = c.apply(ctx, r, u, args, zero)
		return err
	}
	if u.value == readBack {
		err = c.t.Transaction(ctx, op, apply)
	} else {
		err = c.t.Statement(ctx, op, apply)
	}
	return value, err
}

// apply runs the guarded update, or for an amount of zero just looks at the guard: MySQL doesn't count a row as changed
// if it is what it was.
func (c *Counter[N]) apply(ctx context.Context, r txn.Runner, u *guardedUpdate, args []any, zero bool) (N, error) {
	if !zero {
		return updateOrExplain[N](ctx, r, &c.column, u, args)
	}
	current, finding, err := ask[N](ctx, r, &c.column, u, args)
	if err == nil && finding != holds {
		return current, c.refused(args[:len(c.t.Key)], u.refusalOf(finding), current)
	}
	return current, c.explain(u, args, err)
}

// checkAmounts checks the amount, and the limit behind it if there is one. It reports whether the amount is zero.
func checkAmounts(amounts []any) (zero bool, err error) {
	for i, n := range amounts {
		if i > 0 {
			_, err = sign(n)
		} else {
			zero, err = checkAmount(n)
		}
		if err != nil {
			return false, err
		}
	}
	return zero, nil
}

func checkAmount(amount any) (zero bool, err error) {
	s, err := sign(amount)
	if err == nil && s < 0 {
		err = fmt.Errorf("amount %v is negative", amount)
	}
	return s == 0, err
}
