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

// refuseUpdates makes every UPDATE of a row of the table an error.
func refuseUpdates(t *testing.T, db *sql.DB, d nogap.Dialect) {
	t.Helper()
	if d == nogap.Postgres {
		exec(t, db, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''written''; END'")
	}
	exec(t, db, pick("CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION refuse()",
		"CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'written'",
		"CREATE TRIGGER refuse BEFORE UPDATE ON items BEGIN SELECT RAISE(ABORT, 'written'); END")(d))
}

// TestUnchanged: a Modify that changes nothing sends no UPDATE, not even one that leaves the row as it is.
func TestUnchanged(t *testing.T) {
	nothing := func(*counterRow) error { return nil }
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn)
		refuseUpdates(t, db, target.Dialect)
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.LockAfter(1))
		require.NoError(t, err)
		_, err = items.Modify(t.Context(), func(r *counterRow) error { r.Stock--; return nil }, "north", 1)
		require.ErrorContains(t, err, "written", "the trigger works")

		row, err := items.Modify(t.Context(), nothing, "north", 1)
		require.NoError(t, err)
		require.Equal(t, &counterRow{Item{"north", 1, 10, sql.NullString{}}, 0}, row)

		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = items.WithTx(tx).Modify(t.Context(), nothing, "north", 1)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())

		// With the row lock, after an attempt that was lost to somebody whose UPDATE the trigger does not see.
		calls := 0
		row, err = items.Modify(t.Context(), func(r *counterRow) error {
			if calls++; calls == 1 {
				exec(t, db, "DELETE FROM items")
				exec(t, db, "INSERT INTO items (shop, sku, stock, version) VALUES ('north', 1, 99, 1)")
				r.Stock--
			}
			return nil
		}, "north", 1)
		require.NoError(t, err)
		require.Equal(t, 2, calls)
		require.EqualValues(t, 99, row.Stock)
		require.EqualValues(t, 1, row.Version)
		row.Stock = 98
		require.ErrorContains(t, items.Update(t.Context(), row), "written", "the lock is gone, and an Update is tried")
	})
}
