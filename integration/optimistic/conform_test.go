//go:build unix

package optimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
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

	begin := func(ctx context.Context, t *testing.T, db *sql.DB, items *optimistic.Table[T]) (*sql.Tx, *optimistic.Table[T]) {
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		t.Cleanup(func() { tx.Rollback() })
		return tx, items.WithTx(tx)
	}

	return func(t *testing.T, fresh func(testing.TB) *sql.DB) {
		// Callers of a Coalescer leave what callers of Modify leave, and only who wrote last can go on with what it was given.
		t.Run("coalesce", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			hot := optimistic.Coalesce(items)
			if reflect.TypeFor[V]().Size() == 2 {
				require.ErrorContains(t, hot.Close(), "integer of 64 bits")
				return
			}
			defer func() { require.NoError(t, hot.Close()) }()
			const callers, each = 16, 2
			var mu sync.Mutex
			given := map[int64]*T{}
			concurrent.Run(t, callers, func(int) error {
				for range each {
					row, err := hot.Modify(t.Context(), func(r *T) error { item(r).Stock--; return nil }, "north", 1)
					if err != nil {
						return err
					}
					mu.Lock()
					given[item(row).Stock] = row
					mu.Unlock()
				}
				return nil
			})
			require.Len(t, given, callers*each, "each as its own function left it")
			const last = 10 - callers*each
			require.EqualValues(t, last, stock(t, db))
			require.Equal(t, get(t, items), given[last])
			for left, row := range given {
				if left != last {
					require.ErrorIs(t, items.Update(t.Context(), row), optimistic.ErrVersionConflict)
				}
			}
			item(given[last]).Stock = 99
			require.NoError(t, items.Update(t.Context(), given[last]))
			require.EqualValues(t, 99, stock(t, db))
		})
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

		t.Run("insert", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			sample := get(t, items)
			make := func(sku int64) *T {
				row := new(T)
				copied := reflect.ValueOf(row).Elem()
				if f := copied.FieldByName("Item"); f.Kind() == reflect.Pointer {
					f.Set(reflect.New(f.Type().Elem()))
				}
				*item(row) = Item{Shop: "south", SKU: sku, Stock: 10, Note: sql.NullString{String: "new", Valid: true}}
				return row
			}
			check := func(items *optimistic.Table[T], row *T, sku int64) {
				t.Helper()
				there, err := items.Get(t.Context(), "south", sku)
				require.NoError(t, err)
				require.Equal(t, there, row, "the item is what was stored")
				item(row).Stock--
				require.NoError(t, items.Update(t.Context(), row), "and can be written")
			}
			// A zero in the key is a value here, since the server makes none.
			for _, sku := range []int64{0, 1} {
				row := make(sku)
				require.NoError(t, items.Insert(t.Context(), row))
				check(items, row, sku)
				require.NoError(t, items.Update(t.Context(), row))
			}
			require.Equal(t, 2, value[int](t, db, "SELECT count(*) FROM items WHERE shop = 'south' AND origin = 'somewhere'"))

			again := make(1)
			err := items.Insert(t.Context(), again)
			require.ErrorIs(t, err, optimistic.ErrDuplicate)
			require.ErrorContains(t, err, "items at [south 1]")
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.Equal(t, make(1), again, "unchanged")

			tx, inTx := begin(t.Context(), t, db, items)
			row := make(2)
			require.NoError(t, inTx.Insert(t.Context(), row))
			check(inTx, row, 2)
			if _, isXmin := any(row).(*xminRow); !isXmin { // which all writes of a transaction share
				require.ErrorIs(t, inTx.Delete(t.Context(), row), optimistic.ErrVersionConflict, "in a transaction it keeps its version")
			}
			require.NoError(t, tx.Rollback())
			_, err = items.Get(t.Context(), "south", 2)
			require.ErrorIs(t, err, sql.ErrNoRows)
			require.Equal(t, sample, get(t, items), "other rows are as they were")
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
			_, err := items.Modify(t.Context(), func(r *T) error {
				calls++
				exec(t, db, "DELETE FROM items")
				item(r).Stock--
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

		// In a transaction an item keeps the version that it was read with.
		t.Run("in a transaction", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			rival := get(t, items)
			tx, inTx := begin(t.Context(), t, db, items)
			row, err := inTx.Get(t.Context(), "north", 1)
			require.NoError(t, err)
			first := version(row)
			item(row).Stock = 5
			require.NoError(t, inTx.Update(t.Context(), row))
			require.Equal(t, first, version(row))
			item(row).Stock = 4
			for _, err := range []error{inTx.Update(t.Context(), row), inTx.Delete(t.Context(), row)} {
				conflict(t, err, first)
				require.ErrorContains(t, err, "written earlier in a transaction: read it again")
			}
			again, err := inTx.Get(t.Context(), "north", 1)
			require.NoError(t, err)
			item(again).Stock--
			require.NoError(t, inTx.Update(t.Context(), again))
			conflict(t, inTx.Update(t.Context(), rival), version(rival))
			conflict(t, inTx.Delete(t.Context(), rival), version(rival))
			require.NoError(t, tx.Commit())
			conflict(t, items.Update(t.Context(), row), first)
			require.EqualValues(t, 4, stock(t, db))
		})

		t.Run("modify in a transaction", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			tx, inTx := begin(t.Context(), t, db, items)
			var first V
			row, err := inTx.Modify(t.Context(), func(r *T) error { first = version(r); item(r).Stock--; return nil }, "north", 1)
			require.NoError(t, err)
			require.Equal(t, first, version(row))
			require.EqualValues(t, 9, item(row).Stock)
			conflict(t, inTx.Update(t.Context(), row), first)
			_, err = inTx.Modify(t.Context(), func(r *T) error { item(r).Stock--; return nil }, "north", 1)
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			conflict(t, items.Update(t.Context(), row), first)
			require.EqualValues(t, 8, stock(t, db))
		})

		// After a rollback of any kind the item's version is the row's, until somebody else writes it.
		for name, undo := range map[string]struct {
			begin string
			end   func(context.CancelFunc, *sql.Tx)
		}{
			"rolled back":       {"", func(_ context.CancelFunc, tx *sql.Tx) { require.NoError(t, tx.Rollback()) }},
			"context cancelled": {"", func(cancel context.CancelFunc, tx *sql.Tx) { cancel(); require.Error(t, tx.Commit()) }},
			"savepoint": {"SAVEPOINT s", func(_ context.CancelFunc, tx *sql.Tx) {
				_, err := tx.Exec("ROLLBACK TO SAVEPOINT s")
				require.NoError(t, err)
				require.NoError(t, tx.Commit())
			}},
		} {
			for how, write := range map[string]func(context.Context, *optimistic.Table[T], *T) (*T, error){
				"update": func(ctx context.Context, inTx *optimistic.Table[T], row *T) (*T, error) {
					item(row).Stock = 5
					return row, inTx.Update(ctx, row)
				},
				"modify": func(ctx context.Context, inTx *optimistic.Table[T], _ *T) (*T, error) {
					return inTx.Modify(ctx, func(r *T) error { item(r).Stock = 5; return nil }, "north", 1)
				},
				"delete": func(ctx context.Context, inTx *optimistic.Table[T], row *T) (*T, error) {
					return row, inTx.Delete(ctx, row)
				},
			} {
				t.Run(name+" "+how, func(t *testing.T) {
					db := fresh(t)
					items := open(t, db)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					tx, inTx := begin(ctx, t, db, items)
					row, err := inTx.Get(t.Context(), "north", 1)
					require.NoError(t, err)
					first := version(row)
					if undo.begin != "" {
						_, err = tx.Exec(undo.begin)
						require.NoError(t, err)
					}
					row, err = write(t.Context(), inTx, row)
					require.NoError(t, err)
					require.Equal(t, first, version(row))
					undo.end(cancel, tx)

					rival, err := items.Modify(t.Context(), func(r *T) error { item(r).Stock = 99; return nil }, "north", 1)
					require.NoError(t, err)
					item(row).Stock = 1
					conflict(t, items.Update(t.Context(), row), first)
					conflict(t, items.Delete(t.Context(), row), first)
					require.Equal(t, rival, get(t, items), "the other write stands")
				})
			}
		}

		// One that the server undoes, around a struct that was read outside: the next attempt wins.
		t.Run("retried", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			row := get(t, items)
			calls := 0
			err := optimistic.RetryOnVersionConflict(t.Context(), func(ctx context.Context) error {
				tx, inTx := begin(ctx, t, db, items)
				defer tx.Rollback()
				item(row).Stock = 5
				if err := inTx.Update(ctx, row); err != nil {
					return err
				}
				if calls++; calls == 1 {
					return serializationFailure{}
				}
				return tx.Commit()
			}, optimistic.MaxAttempts(3))
			require.NoError(t, err)
			require.Equal(t, 2, calls)
			require.EqualValues(t, 5, stock(t, db))
		})

		t.Run("unchanged", func(t *testing.T) {
			db := fresh(t)
			items := open(t, db)
			before := get(t, items)
			for _, fn := range []func(*T) error{
				func(*T) error { return nil },
				func(r *T) error { item(r).Stock++; item(r).Stock--; return nil },
			} {
				row, err := items.Modify(t.Context(), fn, "north", 1)
				require.NoError(t, err)
				require.Equal(t, before, row)
				tx, inTx := begin(t.Context(), t, db, items)
				row, err = inTx.Modify(t.Context(), fn, "north", 1)
				require.NoError(t, err)
				require.NoError(t, tx.Commit())
				require.Equal(t, version(before), version(row))
				require.Equal(t, before, get(t, items))
			}
			item(before).Stock = 5
			require.NoError(t, items.Update(t.Context(), before), "who holds the version has no conflict")
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

// serializationFailure is an error as a server returns it that has undone a transaction.
type serializationFailure struct{}

func (serializationFailure) Error() string    { return "could not serialize access" }
func (serializationFailure) SQLState() string { return "40001" }

func asInt(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int64:
		return v
	}
	panic("no integer")
}
