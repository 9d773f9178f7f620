//go:build unix

package optimistic_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// TestHeldBack: a write that the server holds back without a word is not a conflict.
func TestHeldBack(t *testing.T) {
	type row struct {
		ID      int64 `db:"id"`
		Stock   int64 `db:"stock"`
		Version int64 `db:"version"`
	}
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := numbered(t, target)
		exec(t, db, "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
		exec(t, db, "CREATE TRIGGER nothing BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION nothing()")
		items, err := optimistic.NewTable[row](db, "items", optimistic.MaxAttempts(2))
		require.NoError(t, err)
		const want = "optimistic: items at [1]: the row still has version 7: a trigger, a rule or a policy of the server prevented the write"
		err = items.Update(t.Context(), &row{ID: 1, Version: 7})
		require.ErrorContains(t, err, want)
		require.NotErrorIs(t, err, optimistic.ErrVersionConflict)
		_, err = items.Modify(t.Context(), func(r *row) error { r.Stock++; return nil }, 1)
		require.ErrorContains(t, err, want)
		require.NotErrorIs(t, err, optimistic.ErrVersionConflict)
	})
}

// TestTokenOfSeveralRows: that one of two rows has the token shows nothing about the other.
func TestTokenOfSeveralRows(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, ", version VARCHAR(36) NOT NULL DEFAULT 'first'")
		exec(t, db, "INSERT INTO items (shop, sku, stock) VALUES ('north', 2, 10)")
		type row struct {
			Shop    string `db:"shop"`
			Stock   int64  `db:"stock"`
			Version string `db:"version"`
		}
		items, err := optimistic.NewTable[row](db, "items", optimistic.WithKey("shop"))
		require.NoError(t, err)

		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		err = items.WithTx(tx).Update(t.Context(), &row{"north", 5, "first"})
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, "the transaction can be rolled back")
		require.NoError(t, tx.Rollback())

		err = items.Update(t.Context(), &row{"north", 5, "first"})
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	})
}

// TestFieldWithoutColumn: a field without a tag may have another name than its column.
func TestFieldWithoutColumn(t *testing.T) {
	type untagged struct { // as for GORM
		ID      int64
		InStock int64
		Version int64
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := numbered(t, target)
		items, err := optimistic.NewTable[untagged](db, "items")
		require.NoError(t, err)
		_, err = items.Get(t.Context(), 1)
		require.ErrorContains(t, err, "instock")
		require.ErrorContains(t, err, "a field of optimistic_test.untagged has no column: tag it")
		_, err = items.Modify(t.Context(), func(*untagged) error { return nil }, 1)
		require.ErrorContains(t, err, `db:"-"`)
		require.ErrorContains(t, items.Update(t.Context(), &untagged{ID: 1}), `db:"-"`)
	})
}

// TestVersionPutBack: a trigger that undoes a write would let every writer win.
func TestVersionPutBack(t *testing.T) {
	type row struct {
		ID      int64 `db:"id"`
		Stock   int64 `db:"stock"`
		Version int64 `db:"version"`
	}
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := numbered(t, target)
		exec(t, db, "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'")
		exec(t, db, "CREATE TRIGGER undo BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION undo()")
		items, err := optimistic.NewTable[row](db, "items", optimistic.MaxAttempts(2))
		require.NoError(t, err)
		err = items.Update(t.Context(), &row{ID: 1, Stock: 1, Version: 7})
		require.ErrorContains(t, err, "a trigger of the server puts the old version back")
		_, err = items.Modify(t.Context(), func(r *row) error { r.Stock--; return nil }, 1)
		require.ErrorContains(t, err, "a trigger of the server puts the old version back")
		require.NotErrorIs(t, err, optimistic.ErrVersionConflict)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
	})
}

// TestMissingRowSaysWhy: an item that was never inserted, and one whose key was changed.
func TestMissingRowSaysWhy(t *testing.T) {
	type row struct {
		ID      int64 `db:"id"`
		Stock   int64 `db:"stock"`
		Version int64 `db:"version"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := numbered(t, target)
		items, err := optimistic.NewTable[row](db, "items")
		require.NoError(t, err)
		err = items.Update(t.Context(), &row{Stock: 1})
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "the item has the zero key of a new struct")
		item, err := items.Get(t.Context(), 1)
		require.NoError(t, err)
		item.ID = 9
		err = items.Update(t.Context(), item)
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "the key of the item was changed")
		item.ID, item.Version = 2, 6
		err = items.Update(t.Context(), item)
		require.ErrorIs(t, err, optimistic.ErrVersionConflict)
		require.ErrorContains(t, err, "the item's key was changed")
	})
}

// TestAlteredColumn: a column gets another type while programs run that have prepared their statements. It is no attempt.
func TestAlteredColumn(t *testing.T) {
	type row struct {
		ID      int64 `db:"id"`
		Stock   int64 `db:"stock"`
		Version int64 `db:"version"`
	}
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := numbered(t, target)
		items, err := optimistic.NewTable[row](db, "items", optimistic.MaxAttempts(1))
		require.NoError(t, err)
		for _, alter := range []string{"", "ALTER COLUMN stock TYPE numeric", "ADD COLUMN added int", "ALTER COLUMN version TYPE int"} {
			if alter != "" {
				exec(t, db, "ALTER TABLE items "+alter)
			}
			item, err := items.Modify(t.Context(), func(r *row) error { r.Stock++; return nil }, 1)
			require.NoError(t, err, alter)
			require.NoError(t, items.Update(t.Context(), item), alter)
			_, err = items.Get(t.Context(), 1)
			require.NoError(t, err, alter)
		}
	})
}
