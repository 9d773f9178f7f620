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

// Counter changes one numeric column of a table's rows: a stock, a balance, a quota. N is the Go type of its values:
// any that the driver binds and scans. Integer types suit integer columns; for NUMERIC and DECIMAL columns N is a
// string or a decimal type, and nothing is rounded, because the server does the arithmetic. (SQLite has no exact
// decimals. An amount with more decimal places than the column keeps is rounded by the server, as any assignment is.)
//
// Amounts are never negative: that is an error, and nothing is sent. The key values of a method come last. They are those
// of one row, in the order of WithKey. A missing row is sql.ErrNoRows; a NULL in the column is an error.
//
// On success the change costs one round trip and the returned value is the one that it left, also if others have changed
// it since. (On MySQL and MariaDB, if N is no integer type, the table has a trigger BEFORE UPDATE or the sql_mode
// is not strict, it costs a transaction of four.) A refusal is a *RefusedError, costs a second round trip, and the returned value is the one that was
// in the way. With any other error the returned value is zero.
//
// If ctx ends, the error satisfies errors.Is with ctx's error. If that happens, or the connection is lost, while the
// statement is under way, the error is nogap.ErrOutcomeUnknown too. Deadlocks, serialization failures and a busy SQLite
// are tried again, with jittered backoff, until ctx ends or 50 attempts have failed, which is ErrRetriesExhausted; WithTx
// never tries again. A row that is locked for longer than the server lets statements wait is nogap.ErrLockTimeout. If
// several rows have the key, the error is nogap.ErrNotUnique.
//
// Called in a callback of nogap for a row that the callback's transaction has locked, a method returns an error at once:
// it would wait for that transaction. Use WithTx with the callback's tx there.
//
// A Counter is safe for concurrent use.
type Counter[N any] struct {
	column
}

// NewCounter returns the Counter of a column. The table may be qualified by its schema. Nothing is sent to the server;
// a table, column or key that does not exist is an error at the first use.
//
// A column that an optimistic.Table of the same *sql.DB writes needs VersionColumn. Without it NewCounter returns an error,
// or the first use does if the names are spelt in two ways; see "Together on one table" in the package documentation.
func NewCounter[N any](db *sql.DB, table, column string, opts ...Option) (*Counter[N], error) {
	c, err := newColumn(db, table, column, numberOf[N](), opts)
	if err != nil {
		return nil, fail(err)
	}
	return &Counter[N]{c}, nil
}

// WithTx returns a Counter whose statements are part of tx, the caller's own transaction on the same database. Nothing
// is ever tried again there: after an error that is neither a *RefusedError nor sql.ErrNoRows, roll tx back, and run all
// of it again if the server asks for that. (PostgreSQL does so under REPEATABLE READ if the row has changed since the
// transaction's first statement, with 40001; MariaDB from 11.6.2 on with 1020.) It is as safe for concurrent use as tx is.
//
// What is no transaction (nil, a *sql.DB, …; see nogap.Tx) is an error of every method, and nothing is sent.
func (c *Counter[N]) WithTx(tx nogap.Tx) *Counter[N] { return &Counter[N]{c.in(tx)} }

// DecrementIfPositive takes 1 if there is 1 to take, and returns what is left. Otherwise the error is ErrInsufficient.
func (c *Counter[N]) DecrementIfPositive(ctx context.Context, key ...any) (N, error) {
	return c.observed(ctx, "atomic.DecrementIfPositive", key, decrementOne)
}

// Decrement takes an amount; it comes first and the key last: stock.Decrement(ctx, 3, "sku-1") takes 3 from sku-1. It
// takes n if there is that much, and returns what is left. Otherwise the error is ErrInsufficient.
func (c *Counter[N]) Decrement(ctx context.Context, n N, key ...any) (N, error) {
	return c.observed(ctx, "atomic.Decrement", key, decrement, n)
}

// Increment adds an amount; it comes first and the key last: stock.Increment(ctx, 3, "sku-1") adds 3 to sku-1. It returns
// the sum. If that is more than the column's type holds, the error is ErrLimit.
//
// MySQL and MariaDB say so in their strict SQL mode alone, which is their default. Without it they store the largest value.
func (c *Counter[N]) Increment(ctx context.Context, n N, key ...any) (N, error) {
	return c.observed(ctx, "atomic.Increment", key, increment, n)
}

// IncrementUpTo adds an amount; it comes first, then the limit, and the key last: stock.IncrementUpTo(ctx, 3, 100, "sku-1").
// It adds n if the sum is at most limit, and returns the sum. Otherwise the error is ErrLimit.
func (c *Counter[N]) IncrementUpTo(ctx context.Context, n, limit N, key ...any) (N, error) {
	return c.observed(ctx, "atomic.IncrementUpTo", key, incrementUpTo, n, limit)
}

// Get returns the value. What it says may be out of date by the time that it arrives: to decide from it and then write is
// the gap that the other methods close. It waits for no lock. In a transaction (WithTx) it is what the transaction sees,
// under REPEATABLE READ that of its snapshot.
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

// CompareAndSet replaces the value if it is old; otherwise the error is ErrMismatch. Both may be negative. A value that
// has been changed and changed back is not told from one that was never changed.
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
