package optimistic_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/optimistic"
)

// BenchmarkCoalesce is the cost of a call besides the server's, for so many callers of one row, and of Modify for one.
func BenchmarkCoalesce(b *testing.B) {
	take := func(it *Item) error { it.Stock--; return nil }
	open := func(b *testing.B) *optimistic.Table[Item] {
		db := newShop().DB()
		b.Cleanup(func() { db.Close() })
		items, err := optimistic.NewTable[Item](db, "items")
		require.NoError(b, err)
		return items
	}
	b.Run("Modify", func(b *testing.B) {
		items := open(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := items.Modify(context.Background(), take, 42); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, callers := range []int{1, 16, 500} {
		b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) {
			hot := optimistic.Coalesce(open(b))
			b.ReportAllocs()
			if callers == 1 {
				for b.Loop() {
					if _, err := hot.Modify(context.Background(), take, 42); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(callers / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := hot.Modify(context.Background(), take, 42); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
