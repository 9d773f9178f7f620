package optimistic_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// undoingShop undoes on ROLLBACK what has been done since BEGIN, and on ROLLBACK TO what has been done since SAVEPOINT.
func undoingShop() *shop {
	s := newShop()
	var atBegin, atSavepoint map[int64]*Item
	rows := func() map[int64]*Item {
		c := make(map[int64]*Item)
		for id, row := range s.rows {
			copied := *row
			c[id] = &copied
		}
		return c
	}
	s.Server = fakedb.Recorded(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		s.mu.Lock()
		switch {
		case c.Kind == fakedb.Begin:
			atBegin = rows()
		case c.Kind == fakedb.Rollback:
			s.rows = atBegin
		case c.Query == "SAVEPOINT s":
			atSavepoint = rows()
		case c.Query == "ROLLBACK TO s":
			s.rows = atSavepoint
		default:
			s.mu.Unlock()
			return s.serve(ctx, c)
		}
		s.mu.Unlock()
		return fakedb.Reply{}, nil
	})
	return s
}

func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

const readAgain = "written earlier in a transaction: read it again"

// An item keeps in a transaction the version that it was read with, whatever comes of the transaction.
func TestVersionInTransaction(t *testing.T) {
	write := map[string]func(ctx context.Context, inTx *optimistic.Table[Item]) (*Item, error){
		"Update": func(ctx context.Context, inTx *optimistic.Table[Item]) (*Item, error) {
			item := &Item{42, 1, 7}
			return item, inTx.Update(ctx, item)
		},
		"Modify": func(ctx context.Context, inTx *optimistic.Table[Item]) (*Item, error) {
			return inTx.Modify(ctx, take, 42)
		},
		"Modify that counts up by itself": func(ctx context.Context, inTx *optimistic.Table[Item]) (*Item, error) {
			return inTx.Modify(ctx, func(it *Item) error { it.Version++; return take(it) }, 42)
		},
		"Delete": func(ctx context.Context, inTx *optimistic.Table[Item]) (*Item, error) {
			item := &Item{42, 1, 7}
			return item, inTx.Delete(ctx, item)
		},
	}
	for method, write := range write {
		t.Run(method, func(t *testing.T) {
			start := func(t *testing.T) (*shop, *optimistic.Table[Item], *sql.Tx) {
				s := undoingShop()
				db := s.DB()
				items, err := optimistic.NewTable[Item](db, "items")
				require.NoError(t, err)
				return s, items, begin(t, db)
			}
			t.Run("ROLLBACK", func(t *testing.T) {
				s, items, tx := start(t)
				item, err := write(t.Context(), items.WithTx(tx))
				require.NoError(t, err)
				require.Equal(t, &Item{42, 1, 7}, item)
				require.NoError(t, tx.Rollback())
				s.rival(42)
				require.ErrorIs(t, items.Update(t.Context(), item), optimistic.ErrVersionConflict)
				require.Equal(t, Item{42, 102, 8}, s.item(42), "the rival's write stands")
			})
			t.Run("ROLLBACK, and nobody else", func(t *testing.T) {
				s, items, tx := start(t)
				item, err := write(t.Context(), items.WithTx(tx))
				require.NoError(t, err)
				require.NoError(t, tx.Rollback())
				require.NoError(t, items.Update(t.Context(), item))
				require.Equal(t, Item{42, 1, 8}, s.item(42))
				require.Equal(t, Item{42, 1, 8}, *item, "outside it counts up")
			})
			t.Run("ROLLBACK TO", func(t *testing.T) {
				s, items, tx := start(t)
				_, err := tx.Exec("SAVEPOINT s")
				require.NoError(t, err)
				item, err := write(t.Context(), items.WithTx(tx))
				require.NoError(t, err)
				_, err = tx.Exec("ROLLBACK TO s")
				require.NoError(t, err)
				s.rival(42)
				require.NoError(t, tx.Commit())
				require.ErrorIs(t, items.Update(t.Context(), item), optimistic.ErrVersionConflict)
				require.Equal(t, Item{42, 102, 8}, s.item(42))
			})
			if method == "Delete" {
				return
			}
			t.Run("again", func(t *testing.T) {
				s, items, tx := start(t)
				inTx := items.WithTx(tx)
				item, err := write(t.Context(), inTx)
				require.NoError(t, err)
				item.Stock = 0
				for _, err := range []error{inTx.Update(t.Context(), item), inTx.Delete(t.Context(), item)} {
					require.ErrorIs(t, err, optimistic.ErrVersionConflict)
					require.ErrorContains(t, err, readAgain)
				}
				require.NoError(t, tx.Commit())
				err = items.Update(t.Context(), item)
				require.ErrorIs(t, err, optimistic.ErrVersionConflict)
				require.EqualError(t, err, "optimistic: items at [42]: version conflict: the row no longer has version 7 (attempt 1): "+
					"somebody else wrote it, or the item's key was changed, or it was "+readAgain)
				require.Equal(t, Item{42, 1, 8}, s.item(42))
			})
		})
	}
}

// A Modify reads the row itself, so no transaction of before can be the reason of its conflict.
func TestConflictOfModify(t *testing.T) {
	s := newShop()
	items := openItems(t, s, optimistic.MaxAttempts(1))
	_, err := items.Modify(t.Context(), func(it *Item) error { s.rival(42); return take(it) }, 42)
	require.ErrorIs(t, err, optimistic.ErrVersionConflict)
	require.NotContains(t, err.Error(), readAgain)
}

// An attempt that the server has undone leaves a struct that was read outside as it was, so the next attempt is no
// conflict with nobody.
func TestRetryWithItemReadOutside(t *testing.T) {
	s := undoingShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	item, err := items.Get(t.Context(), 42)
	require.NoError(t, err)
	item.Stock = 1
	calls := 0
	err = optimistic.RetryOnVersionConflict(t.Context(), func(ctx context.Context) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := items.WithTx(tx).Update(ctx, item); err != nil {
			return err
		}
		if calls++; calls == 1 {
			return serverError("40001")
		}
		return tx.Commit()
	}, optimistic.MaxAttempts(3), noWait)
	require.NoError(t, err)
	require.Equal(t, 2, calls)
	require.Equal(t, Item{42, 1, 8}, s.item(42))
}

// The error with which RetryOnVersionConflict gives up still says what may be the reason.
func TestRetryOfItemWrittenTwice(t *testing.T) {
	s := undoingShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	err = optimistic.RetryOnVersionConflict(t.Context(), func(ctx context.Context) error {
		tx := begin(t, db)
		defer tx.Rollback()
		item, err := items.WithTx(tx).Get(ctx, 42)
		if err == nil {
			err = items.WithTx(tx).Update(ctx, item)
		}
		if err == nil {
			err = items.WithTx(tx).Update(ctx, item)
		}
		return err
	}, optimistic.MaxAttempts(2), noWait)
	require.ErrorIs(t, err, optimistic.ErrRetriesExhausted)
	require.ErrorContains(t, err, readAgain)
	require.Equal(t, Item{42, 2, 7}, s.item(42))
}
