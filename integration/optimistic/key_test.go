//go:build unix

package optimistic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// TestKeyNotUnique: two rows of one key are found out when they are read, before anything is written.
func TestKeyNotUnique(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, ", version BIGINT NOT NULL DEFAULT 0")
		exec(t, db, "INSERT INTO items (shop, sku, stock) VALUES ('north', 2, 10)")
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop"))
		require.NoError(t, err)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		for _, items := range []*optimistic.Table[counterRow]{items.WithTx(tx), items} {
			const want = "optimistic: items at [north]: nogap: the key is not unique"
			_, err = items.Get(t.Context(), "north")
			require.EqualError(t, err, want)
			_, err = items.Modify(t.Context(), func(*counterRow) error { panic("called") }, "north")
			require.EqualError(t, err, want)
		}
	})
}
