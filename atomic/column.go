package atomic

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// Key identifies a row: one value for each key column, "id" unless WithKey names others.
type Key = nogap.Key

// column is one column of a table's rows, which guarded updates change.
type column struct {
	t      *table.Table
	name   dialect.Ident
	number dialect.Number
	sql    *table.SQL[columnSQL] // shared with the copies that are bound to transactions
}

// columnSQL are the guarded updates of one column in the SQL of its server.
type columnSQL struct {
	server  dialect.Server
	updates [changes]guardedUpdate
}

// change says which of the guarded updates to make.
type change int

const (
	decrementOne change = iota
	decrement
	increment
	incrementUpTo
	compareAndSet
	changes
)

func newColumn(db *sql.DB, tableName, name string, n dialect.Number, opts []Option) (column, error) {
	t, _, err := bind(db, tableName, opts)
	if err != nil {
		return column{}, err
	}
	ident, err := dialect.Column(name)
	if err != nil {
		return column{}, err
	}
	return column{t: t, name: ident, number: n, sql: new(table.SQL[columnSQL])}, nil
}

// in returns the column as the statements of tx see it.
func (c column) in(tx nogap.Tx) column {
	c.t = c.t.In(tx)
	return c
}

// statements returns the guarded updates, and asks the server what it is if that isn't known.
func (c *column) statements(ctx context.Context) (*columnSQL, error) {
	return c.sql.Of(ctx, c.t, func(_ context.Context, _ txn.Runner, s dialect.Server) (*columnSQL, error) {
		return c.build(s), nil
	})
}

func (c *column) build(s dialect.Server) *columnSQL {
	var (
		col    = s.Quote(c.name)
		first  = s.Amount(c.number, len(c.t.Key)+1)
		second = s.Amount(c.number, len(c.t.Key)+2)
		sum    = col + " + " + first
		held   = s.Numeric(c.number, c.name)
		fits   = col + " IS NOT NULL"
		how    = c.howToReturn(s)
	)
	if exact := s.NoOverflow(col, first, sum); exact != "" {
		fits += " AND " + exact
	}
	q := &columnSQL{server: s}
	// c >= n, and not c - n >= 0, which is an error where the column is UNSIGNED.
	q.updates[decrementOne] = c.guard(s, col+" - 1", held+" >= 1", how, ErrInsufficient)
	q.updates[decrement] = c.guard(s, col+" - "+first, held+" >= "+first, how, ErrInsufficient)
	q.updates[increment] = c.guard(s, sum, fits, how, ErrLimit)
	q.updates[incrementUpTo] = c.guard(s, sum, fits+" AND "+sum+" <= "+second, how, ErrLimit)
	q.updates[compareAndSet] = c.guardSwap(s, second, held+" = "+first)
	return q
}

// howToReturn returns how the new value comes back from the server.
func (c *column) howToReturn(s dialect.Server) newValue {
	switch {
	case s.UpdateReturning:
		return returned
	case c.number == dialect.Signed || c.number == dialect.Unsigned:
		return insertID
	}
	return readBack
}

// swap is the compare-and-set of Counter and State.
func swap[T any](ctx context.Context, c *column, name string, from, to T, key Key) error {
	return c.t.Operation(ctx, name, func(ctx context.Context, op *observe.Op) error {
		if err := c.check(ctx, key); err != nil {
			return fail(err)
		}
		q, err := c.statements(ctx)
		if err != nil {
			return fail(err)
		}
		args := arguments(key, from, to)
		err = c.t.Statement(ctx, op, func(r txn.Runner) error {
			_, err := updateOrExplain[T](ctx, r, c, &q.updates[compareAndSet], args)
			return err
		})
		if err == nil {
			c.t.Wrote(ctx, key)
		}
		return fail(err)
	})
}

// check returns an error if the row can't be written by the call.
func (c *column) check(ctx context.Context, key Key) error {
	if err := c.t.CheckKey(key); err != nil {
		return err
	}
	return c.t.CheckFree(ctx, key)
}

// at gives an error the row that it is about.
func (c *column) at(key []any, err error) error {
	return &placedError{place: fmt.Sprintf("%s.%s at %v", c.t.Name, c.name, key), err: err}
}

func (c *column) refused(key []any, refusal error, current any) error {
	return &RefusedError{Err: refusal, Table: c.t.Name.String(), Column: c.name.String(), Key: slices.Clone(Key(key)), Current: current}
}
