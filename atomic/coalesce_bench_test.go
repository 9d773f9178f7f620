package atomic_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
)

// BenchmarkCoalesce is the cost of a call besides the server's, for so many callers of one row.
func BenchmarkCoalesce(b *testing.B) {
	for _, callers := range []int{1, 16, 500} {
		b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) {
			stock, err := atomic.NewCounter[int64](instant(b), "items", "stock", atomic.WithDialect(nogap.Postgres))
			require.NoError(b, err)
			hot := atomic.Coalesce(stock)
			ctx := context.Background()
			b.ReportAllocs()
			if callers == 1 {
				for b.Loop() {
					if _, err := hot.Increment(ctx, 1, "sku-1"); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(callers / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := hot.Increment(ctx, 1, "sku-1"); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
