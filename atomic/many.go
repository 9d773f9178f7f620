package atomic

import (
	"context"
	"slices"
	"strings"

	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/txn"
)

// Item is one line of a cart: N of the row at Key.
type Item[N any] struct {
	Key Key
	N   N
}

// Transfer takes n from one row and adds it to another, both or neither. The error is ErrInsufficient if from has
// less than n, and ErrLimit if the sum is more than the column of to holds. It is sql.ErrNoRows, with the key in its
// text, if one of the rows is not there. See [Counter] for the other errors.
//
// A transfer from a row to itself changes nothing, however its key is spelt. It fails in the same way if n is not
// there. n must not have more decimals than the column: a server that rounds does so twice, and the sum of the rows
// changes.
//
// Rows are locked in the order of their keys, whichever is from and whichever is to. So transfers in circles don't
// deadlock among themselves. A deadlock with others is tried again. If ctx ends before COMMIT is sent, the
// transaction is rolled back and the error is ctx's; for a COMMIT under way [Counter] says what happens. In the
// caller's own transaction (WithTx) a savepoint with the name nogap makes it both or neither.
func (c *Counter[N]) Transfer(ctx context.Context, n N, from, to Key) error {
	return c.all(ctx, "atomic.Transfer", []part{{key: from, how: decrement, amount: n}, {key: to, how: increment, amount: n}})
}

// DecrementAll takes every item's N, or nothing at all, for a cart at check-out for example. If one row has too
// little, the error is ErrInsufficient, inside a *RefusedError that has the row's key. It is sql.ErrNoRows, with the
// key in its text, if one of the rows is not there. Items with the same key add up. Current is then what the items
// before the refused one would have left. An empty list is no error. See [Counter] for the other errors.
//
// Rows are locked in the order of their keys, so carts don't deadlock among themselves. If ctx ends before COMMIT is
// sent, the transaction is rolled back and the error is ctx's; for a COMMIT under way [Counter] says what happens. In
// the caller's own transaction (WithTx) a savepoint with the name nogap makes it all or nothing.
func (c *Counter[N]) DecrementAll(ctx context.Context, items []Item[N]) error {
	return c.all(ctx, "atomic.DecrementAll", parts(items, decrement))
}

// IncrementAll adds every item's N, or nothing at all, for a cart that is given back for example. If the sum is more
// than the column holds, the error is ErrLimit. It is sql.ErrNoRows, with the key in its text, if one of the rows is
// not there: IncrementAll creates no row. Items with the same key add up. An empty list is no error. Locks,
// transactions, the other errors and the end of ctx are as in [Counter.DecrementAll].
func (c *Counter[N]) IncrementAll(ctx context.Context, items []Item[N]) error {
	return c.all(ctx, "atomic.IncrementAll", parts(items, increment))
}

// parts returns the parts of items that are all changed in one way.
func parts[N any](items []Item[N], how change) []part {
	parts := make([]part, len(items))
	for i, item := range items {
		parts[i] = part{key: item.Key, how: how, amount: item.N}
	}
	return parts
}

// part is one row's part in a change of several rows.
type part struct {
	key    Key
	how    change
	amount any
	zero   bool
	other  Key    // with decrementOther
	row    string // by which the parts are ordered
}

// all makes all the changes or none.
func (c *Counter[N]) all(ctx context.Context, name string, parts []part) error {
	return c.t.Operation(ctx, name, func(ctx context.Context, op *observe.Op) error {
		if err := c.prepare(ctx, parts); err != nil || len(parts) == 0 {
			return fail(err)
		}
		q, err := c.statements(ctx)
		if err != nil {
			return c.failedAll(err, keysOf(parts))
		}
		for _, p := range parts {
			if err := q.checkAmount(p.amount); err != nil {
				return c.failed(err, p.key)
			}
		}
		err = c.t.Transaction(ctx, op, func(r txn.Runner) error {
			for _, p := range parts {
				if _, err := c.apply(ctx, r, &q.parts[p.how], arguments(p.key, append([]any{p.amount}, p.other...)...), p.zero); err != nil {
					return err
				}
			}
			return nil
		})
		for _, p := range parts {
			if locked(q, p.zero, err) { // also by those that were undone: InnoDB keeps the locks
				c.t.Wrote(ctx, p.key)
			}
		}
		return c.failedAll(err, keysOf(parts))
	})
}

func keysOf(parts []part) []Key {
	keys := make([]Key, len(parts))
	for i, p := range parts {
		keys[i] = p.key
	}
	return keys
}

// prepare checks the parts and puts them in the order in which rows are locked.
func (c *Counter[N]) prepare(ctx context.Context, parts []part) (err error) {
	keys := make([][]any, len(parts))
	for i := range parts {
		p := &parts[i]
		if err = c.t.CheckKey(p.key); err != nil {
			return err
		}
		keys[i] = p.key
		if p.zero, err = checkAmount(p.amount); err != nil {
			return c.at(p.key, err)
		}
		p.row, _ = rowkey.Text(p.key)
	}
	if err := c.t.CheckFree(ctx, keys...); err != nil {
		return err
	}
	// Stable, so that of two parts on one row the one that takes comes before the one that adds.
	slices.SortStableFunc(parts, func(a, b part) int { return strings.Compare(a.row, b.row) })
	for i := range parts[:max(0, len(parts)-1)] {
		added, p := &parts[i], &parts[i+1]
		if added.how == increment && p.how == decrement && !rowkey.Apart(added.key, p.key) {
			p.how, p.other = decrementOther, added.key // two spellings of one row are ordered as if they were two
		}
	}
	return nil
}
