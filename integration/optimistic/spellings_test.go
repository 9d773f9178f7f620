//go:build unix

package optimistic_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/spelling"
	"github.com/nogap-go/nogap/optimistic"
)

// A row has one version, however its key is spelt, and is inserted once.
func TestRowInTwoSpellings(t *testing.T) {
	type row struct {
		ID      string `db:"id"`
		Stock   int64  `db:"stock"`
		Version int64  `db:"version"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		for i, s := range spelling.All(target.Dialect) {
			t.Run(s.Name, func(t *testing.T) {
				s.Prepare(t, db, target.Dialect)
				table := fmt.Sprint("spelt", i)
				exec(t, db, "CREATE TABLE "+table+" (id "+s.Column+" NOT NULL PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL)")
				items, err := optimistic.NewTable[row](db, table)
				require.NoError(t, err)
				ctx := concurrent.Within(t, time.Minute)
				stored, other := fmt.Sprint(s.Stored), fmt.Sprint(s.Other)
				require.NoError(t, items.Insert(ctx, &row{ID: stored}))
				require.ErrorIs(t, items.Insert(ctx, &row{ID: other}), optimistic.ErrDuplicate)
				concurrent.Run(t, 4, func(i int) error {
					for range 5 {
						_, err := items.Modify(ctx, func(r *row) error { r.Stock++; return nil }, []string{stored, other}[i%2])
						if err != nil {
							return err
						}
					}
					return nil
				})
				first, err := items.Get(ctx, stored)
				require.NoError(t, err)
				require.EqualValues(t, 20, first.Stock)
				second, err := items.Get(ctx, other)
				require.NoError(t, err)
				require.Equal(t, first, second)
				second.ID = other
				first.Stock++
				require.NoError(t, items.Update(ctx, first))
				require.ErrorIs(t, items.Update(ctx, second), optimistic.ErrVersionConflict)
				require.ErrorIs(t, items.Delete(ctx, second), optimistic.ErrVersionConflict)
				require.NoError(t, items.Delete(ctx, first))
			})
		}
	})
}
