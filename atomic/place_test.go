package atomic_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// Whoever reads an error in a log learns which rows it is about, wherever the connection is lost.
func TestErrorsNameTheirRows(t *testing.T) {
	type calls struct {
		stock *atomic.Counter[int]
		likes *atomic.Set
	}
	key := func(id string) nogap.Key { return nogap.Key{id} }
	cart := []atomic.Item[int]{{Key: key("a"), N: 1}, {Key: key("b"), N: 2}}
	for name, test := range map[string]struct {
		call func(context.Context, calls) error
		want string
	}{
		"Decrement": {func(ctx context.Context, c calls) error {
			_, err := c.stock.Decrement(ctx, 1, "a")
			return err
		}, "atomic: items.stock at [a]: "},
		"CompareAndSet": {func(ctx context.Context, c calls) error {
			return c.stock.CompareAndSet(ctx, 1, 2, "a")
		}, "atomic: items.stock at [a]: "},
		"Transfer": {func(ctx context.Context, c calls) error {
			return c.stock.Transfer(ctx, 1, key("a"), key("b"))
		}, "atomic: items.stock at [a], [b]: "},
		"DecrementAll": {func(ctx context.Context, c calls) error {
			return c.stock.DecrementAll(ctx, cart)
		}, "atomic: items.stock at [a], [b]: "},
		"DecrementAll of many": {func(ctx context.Context, c calls) error {
			var items []atomic.Item[int]
			for id := range strings.SplitSeq("a b c d e f g", " ") {
				items = append(items, atomic.Item[int]{Key: key(id), N: 1})
			}
			return c.stock.DecrementAll(ctx, items)
		}, "atomic: items.stock at [a], [b], [c], [d], [e], and 2 more: "},
		"Set.Add": {func(ctx context.Context, c calls) error {
			_, err := c.likes.Add(ctx, 7, "a")
			return err
		}, "atomic: likes at [7 a]: "},
		"Set.Remove": {func(ctx context.Context, c calls) error {
			_, err := c.likes.Remove(ctx, 7, "a")
			return err
		}, "atomic: likes at [7 a]: "},
	} {
		t.Run(name, func(t *testing.T) {
			for _, dies := range []fakedb.Kind{fakedb.Connect, fakedb.Begin, fakedb.Query} {
				db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Kind == dies {
						return fakedb.Reply{}, driver.ErrBadConn
					}
					return fakedb.Row(int64(1)), nil
				})
				defer db.Close()
				stock, err := atomic.NewCounter[int](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
				require.NoError(t, err)
				likes, err := atomic.NewSet(db, "likes", []string{"post", "fan"}, atomic.WithDialect(nogap.Postgres))
				require.NoError(t, err)
				err = test.call(t.Context(), calls{stock, likes})
				if !errors.Is(err, driver.ErrBadConn) {
					require.NotEqual(t, fakedb.Connect, dies)
					continue
				}
				want := test.want
				if dies == fakedb.Query { // in a transaction, of the first row
					want, _, _ = strings.Cut(want, ", ")
				}
				require.True(t, strings.HasPrefix(err.Error(), want), "%v: %v", dies, err)
				require.NotContains(t, strings.TrimPrefix(err.Error(), want), "atomic: ")
				require.Contains(t, err.Error(), "the connection to the server was lost", "%v", dies)
			}
		})
	}
}

func TestNegativeAmountNamesItsRow(t *testing.T) {
	db := fakedb.Open(nil)
	defer db.Close()
	stock, err := atomic.NewCounter[int](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	err = stock.DecrementAll(t.Context(), []atomic.Item[int]{{Key: nogap.Key{"a"}, N: 1}, {Key: nogap.Key{"b"}, N: -2}})
	require.EqualError(t, err, "atomic: items.stock at [b]: amount -2 is negative")
}
