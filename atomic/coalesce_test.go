package atomic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// coalesce returns a Coalescer of the column stock of a fakeRow.
func coalesce(t *testing.T, row *fakeRow, opts ...atomic.CoalesceOption) *atomic.Coalescer[int64] {
	t.Helper()
	db := fakedb.Open(row.handle)
	t.Cleanup(func() { db.Close() })
	counter, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	return atomic.Coalesce(counter, opts...)
}
