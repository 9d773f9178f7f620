//go:build unix

package optimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/optimistic"
)

// conform returns the tests that hold for every kind of version.
func conform[T, V any](parts func(*T) (*Item, *V), opts ...optimistic.Option) func(*testing.T, func(testing.TB) *sql.DB) {
	opts = append(opts, optimistic.WithKey("shop", "sku"))
	open := func(t *testing.T, db *sql.DB) *optimistic.Table[T] {
		items, err := optimistic.NewTable[T](db, "items", opts...)
		require.NoError(t, err)
		return items
	}
	item := func(r *T) *Item { i, _ := parts(r); return i }
	version := func(r *T) V { _, v := parts(r); return *v }
	get := func(t *testing.T, items *optimistic.Table[T]) *T {
		row, err := items.Get(t.Context(), "north", 1)
		require.NoError(t, err)
		return row
	}
	stock := func(t *testing.T, db *sql.DB) int64 {
		return value[int64](t, db, "SELECT stock FROM items WHERE shop = 'north' AND sku = 1")
	}
	conflict := func(t *testing.T, err error, read V) {
		require.ErrorIs(t, err, optimistic.ErrVersionConflict)
		require.NotErrorIs(t, err, optimistic.ErrRetriesExhausted)
		var c *optimistic.ConflictError
		require.ErrorAs(t, err, &c)
		require.Equal(t, "items", c.Table)
		require.EqualValues(t, []any{"north", 1}, []any{c.Key[0], int(asInt(c.Key[1]))})
		require.Equal(t, any(read), c.Version)
		require.Equal(t, 1, c.Attempts)
	}

	return func(t *testing.T, fresh func(testing.TB) *sql.DB) {
		t.Run("update", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			exec(t, db, "UPDATE items SET origin = 'elsewhere'")
			row, rival := get(t, items), get(t, items)
			first := version(row)
			require.EqualValues(t, 10, item(row).Stock)

			// Twice with the same struct: the version that it was given is the one in the database.
			for _, want := range []int64{9, 8} {
				before := version(row)
				item(row).Stock--
				item(row).Note = map[int64]sql.NullString{9: {String: "sold", Valid: true}, 8: {}}[want]
				require.NoError(t, items.Update(t.Context(), row))
				require.NotEqual(t, before, version(row))
				require.Equal(t, want, stock(t, db))
				require.Equal(t, row, get(t, items))
			}
			require.Equal(t, "elsewhere", value[string](t, db, "SELECT origin FROM items"))

			item(rival).Stock = 99
			err := items.Update(t.Context(), rival)
			conflict(t, err, first)
			require.Equal(t, first, version(rival))
			require.EqualValues(t, 99, item(rival).Stock)
			conflict(t, items.Delete(t.Context(), rival), first)
			require.EqualValues(t, 8, stock(t, db))
		})

		t.Run("no row", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			row := get(t, items)
			rival := get(t, items)
			require.NoError(t, items.Delete(t.Context(), row))
			before := version(rival)
			for _, err := range []error{
				items.Update(t.Context(), rival),
				items.Delete(t.Context(), rival),
				func() error { _, err := items.Get(t.Context(), "north", 1); return err }(),
				func() error {
					_, err := items.Modify(t.Context(), func(*T) error { panic("called") }, "north", 1)
					return err
				}(),
			} {
				require.ErrorIs(t, err, sql.ErrNoRows)
				require.NotErrorIs(t, err, optimistic.ErrVersionConflict)
				require.ErrorContains(t, err, "items")
			}
			require.Equal(t, before, version(rival))
		})

		t.Run("deleted in the callback", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			calls := 0
			_, err := items.Modify(t.Context(), func(*T) error {
				calls++
				exec(t, db, "DELETE FROM items")
				return nil
			}, "north", 1)
			require.ErrorIs(t, err, sql.ErrNoRows)
			require.NotErrorIs(t, err, optimistic.ErrVersionConflict)
			require.Equal(t, 1, calls)
		})

		t.Run("modify until won", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			calls := 0
			row, err := items.Modify(t.Context(), func(r *T) error {
				if calls++; calls < 3 {
					_, err := items.Modify(t.Context(), func(r *T) error { item(r).Stock += 100; return nil }, "north", 1)
					require.NoError(t, err)
				}
				item(r).Stock--
				return nil
			}, "north", 1)
			require.NoError(t, err)
			require.Equal(t, 3, calls)
			require.EqualValues(t, 209, stock(t, db))
			require.Equal(t, row, get(t, items))
		})

		t.Run("in a transaction", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			rival := get(t, items)
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback()
			inTx := items.WithTx(tx)
			row, err := inTx.Get(t.Context(), "north", 1)
			require.NoError(t, err)
			item(row).Stock = 5
			require.NoError(t, inTx.Update(t.Context(), row))
			item(row).Stock = 4
			require.NoError(t, inTx.Update(t.Context(), row))
			row, err = inTx.Modify(t.Context(), func(r *T) error { item(r).Stock--; return nil }, "north", 1)
			require.NoError(t, err)
			conflict(t, inTx.Update(t.Context(), rival), version(rival))
			conflict(t, inTx.Delete(t.Context(), rival), version(rival))
			require.NoError(t, tx.Commit())
			require.EqualValues(t, 3, stock(t, db))
			require.Equal(t, row, get(t, items))
		})

		t.Run("nothing lost", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			const goroutines, each = 8, 5
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for range each {
						_, err := items.Modify(context.Background(), func(r *T) error { item(r).Stock--; return nil }, "north", 1)
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 10-goroutines*each, stock(t, db))
		})

		t.Run("declined", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			before := get(t, items)
			soldOut := errors.New("sold out")
			for _, want := range []error{soldOut, optimistic.ErrVersionConflict} {
				row, err := items.Modify(t.Context(), func(r *T) error { item(r).Stock = 0; return want }, "north", 1)
				require.Nil(t, row)
				require.Equal(t, want, err)
			}
			require.Equal(t, before, get(t, items))
		})
	}
}

func asInt(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int64:
		return v
	}
	panic("no integer")
}
