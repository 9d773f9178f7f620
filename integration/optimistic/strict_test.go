//go:build unix

package optimistic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// TestValueThatDoesNotFit: without a strict sql_mode the servers would store something else than the struct holds, and a
// version at its end would not change any more.
func TestValueThatDoesNotFit(t *testing.T) {
	type row struct {
		ID      int64  `db:"id"`
		Name    string `db:"name"`
		Stock   int64  `db:"stock"`
		Version int64  `db:"version"`
	}
	matrix.Run(t, matrix.NotStrict(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id BIGINT PRIMARY KEY, name VARCHAR(5) NOT NULL, stock TINYINT NOT NULL, version TINYINT NOT NULL)")
		exec(t, db, "INSERT INTO items VALUES (1, 'short', 100, 7), (2, 'last', 5, 127)")
		items, err := optimistic.NewTable[row](db, "items")
		require.NoError(t, err)
		for name, change := range map[string]func(*row) error{
			"a number":  func(r *row) error { r.Stock = 1000; return nil },
			"a text":    func(r *row) error { r.Name = "longer"; return nil },
			"a version": func(r *row) error { r.Stock++; return nil },
		} {
			id := int64(1)
			if name == "a version" {
				id = 2
			}
			before, err := items.Get(t.Context(), id)
			require.NoError(t, err)
			_, err = items.Modify(t.Context(), change, id)
			require.Error(t, err, name)
			item := *before
			require.NoError(t, change(&item))
			require.Error(t, items.Update(t.Context(), &item), name)
			item.ID = 3
			if name != "a version" {
				err = items.Insert(t.Context(), &item)
				require.Error(t, err, name)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			}
			after, err := items.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, before, after, name)
		}
	})
}
