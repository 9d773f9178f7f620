package atomic

import (
	"context"
	"slices"
	"strings"

	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/txn"
)

// Item is one line of a cart: take N from the row at Key.
type Item[N any] struct {
	Key Key
	N   N
}

// Transfer takes n from one row and adds it to another, both or neither. The error is ErrInsufficient if from has less
// than n, ErrLimit if to cannot hold the sum, and sql.ErrNoRows, with the key in its text, if one of them is not there.
// A transfer from a row to itself, its key spelt alike, changes nothing, but fails in the same way if n is not there.
// n must not have more decimals than the column: a server that rounds does so twice, and the sum of the rows changes.
//
// Rows are locked in the order of their keys, whichever is from and whichever is to, so transfers in circles don't
// deadlock among themselves; a deadlock with others is tried again. In the caller's own transaction a savepoint named
// nogap sees to both or neither.
func (c *Counter[N]) Transfer(ctx context.Context, n N, from, to Key) error {
	return c.legs(ctx, []leg{
		{key: from, pick: func(g *guards) *guard { return &g.take }, amount: n},
		{key: to, pick: func(g *guards) *guard { return &g.add }, amount: n},
	})
}

// DecrementAll takes every item's N, as a cart does at check-out, or nothing at all. If one row has too little the error
// is ErrInsufficient, inside a *RefusedError that has its key. Items with the same key add up; Current is then what those
// before the refused one would have left. No items are no error.
//
// Rows are locked in the order of their keys, so carts don't deadlock among themselves. In the caller's own transaction
// a savepoint named nogap sees to all or nothing.
func (c *Counter[N]) DecrementAll(ctx context.Context, items []Item[N]) error {
	legs := make([]leg, len(items))
	for i, item := range items {
		legs[i] = leg{key: item.Key, pick: func(g *guards) *guard { return &g.take }, amount: item.N}
	}
	return c.legs(ctx, legs)
}

// leg is one row's part in a change of several rows.
type leg struct {
	key    Key
	pick   func(*guards) *guard
	amount any
	zero   bool
	row    string // by which the legs are ordered
}

// legs makes all the changes or none.
func (c *Counter[N]) legs(ctx context.Context, legs []leg) error {
	for i := range legs {
		var err error
		if err = c.checkKey(legs[i].key); err == nil {
			legs[i].zero, err = checkAmount(legs[i].amount)
			legs[i].row, _ = rowkey.Text(legs[i].key)
		}
		if err != nil {
			return fail(err)
		}
	}
	if len(legs) == 0 {
		return nil
	}
	all, err := c.guards(ctx)
	if err != nil {
		return fail(err)
	}
	// Stable, so that of two legs on one row the one that takes comes before the one that adds.
	slices.SortStableFunc(legs, func(a, b leg) int { return strings.Compare(a.row, b.row) })
	return fail(c.transaction(ctx, func(r txn.Runner) error {
		for _, l := range legs {
			g := *l.pick(all)
			if g.value != returned {
				g.value = unasked
			}
			if _, err := c.apply(ctx, r, &g, values(l.key, l.amount), l.zero); err != nil {
				return err
			}
		}
		return nil
	}))
}
