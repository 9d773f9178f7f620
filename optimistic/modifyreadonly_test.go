package optimistic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// A Modify that changes nothing but a read-only column is no Modify that changes nothing.
func TestModifyOfAReadOnlyColumnAlone(t *testing.T) {
	type item struct {
		ID      int64  `db:"id"`
		Stock   int64  `db:"stock"`
		Name    string `db:"name"`
		Version int64  `db:"version"`
	}
	s := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Row(int64(1), int64(5), "a", int64(3)), nil
	})
	db := s.DB()
	defer db.Close()
	items, err := optimistic.NewTable[item](db, "items", optimistic.ReadOnly("stock"), optimistic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	_, err = items.Modify(t.Context(), func(it *item) error { it.Stock--; return nil }, 1)
	require.ErrorContains(t, err, "stock")
}
