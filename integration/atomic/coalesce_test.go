//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"sync"
	stdatomic "sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// coalescer returns a Coalescer of the column stock over a pool.
func coalescer(t *testing.T, db *sql.DB, opts ...atomic.CoalesceOption) *atomic.Coalescer[int64] {
	t.Helper()
	hot := atomic.Coalesce(newStock[int64](t, db), opts...)
	t.Cleanup(func() { require.NoError(t, hot.Close()) })
	return hot
}

func TestCoalescerSellOut(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		setStock(t, db, 300)
		sellOut(t, 300, 500, coalescer(t, db).DecrementIfPositive)
		require.Zero(t, stockOf[int64](t, db, "sku-1"))
	})
}

// What the column's type holds bounds each call, not the sum of a batch.
func TestCoalescerEdgeOfTheType(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		types := map[string]int64{"BIGINT": math.MaxInt64}
		if target.Dialect != nogap.SQLite { // where every integer has 64 bits
			types["SMALLINT"] = math.MaxInt16
		}
		for columnType, most := range types {
			t.Run(columnType, func(t *testing.T) {
				db := items(t, target, columnType)
				setStock(t, db, most-10)
				hot := coalescer(t, db)
				var added, taken, refused stdatomic.Int64
				together(60, func(i int) {
					op, n := hot.Increment, int64(3)
					if i%4 == 0 {
						op, n = hot.Decrement, 1
					}
					_, err := op(context.Background(), n, "sku-1")
					switch {
					case errors.Is(err, atomic.ErrLimit) && i%4 != 0:
						refused.Add(1)
					case err != nil:
						t.Error(err)
					case i%4 == 0:
						taken.Add(1)
					default:
						added.Add(3)
					}
				})
				require.EqualValues(t, 15, taken.Load())
				require.NotZero(t, refused.Load())
				left := stockOf[int64](t, db, "sku-1")
				require.Equal(t, most-10+added.Load()-15, left)
			})
		}
	})
}

func TestCoalescerUnsignedColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		columnType, start := "BIGINT", uint64(20)
		if mysqlLike(target) {
			columnType, start = "BIGINT UNSIGNED", math.MaxUint64-20
		}
		db := items(t, target, columnType)
		setStock(t, db, start)
		hot := atomic.Coalesce(newStock[uint64](t, db))
		var added, taken stdatomic.Uint64
		together(100, func(i int) {
			if i%2 == 0 {
				_, err := hot.IncrementUpTo(context.Background(), 1, start+15, "sku-1")
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, atomic.ErrLimit) {
					t.Error(err)
				}
				return
			}
			_, err := hot.Decrement(context.Background(), start-10, "sku-1")
			if err == nil {
				taken.Add(start - 10)
			} else if !errors.Is(err, atomic.ErrInsufficient) {
				t.Error(err)
			}
		})
		require.NotZero(t, taken.Load())
		require.Equal(t, start+added.Load()-taken.Load(), stockOf[uint64](t, db, "sku-1"))
	})
}

func TestCoalescerNoSuchRow(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		hot := coalescer(t, items(t, target, "BIGINT"))
		together(40, func(i int) {
			_, err := hot.DecrementIfPositive(context.Background(), "nobody")
			if !errors.Is(err, sql.ErrNoRows) {
				t.Error(err)
			}
			_, err = hot.Increment(context.Background(), 1, "sku-null")
			if err == nil || errors.Is(err, sql.ErrNoRows) || errors.Is(err, nogap.ErrOutcomeUnknown) {
				t.Error(err)
			}
		})
	})
}

// Other processes change the row all the time, in the narrowest way: what is left is always next to nothing.
func TestCoalescerNeverGivesUpOnABusyRow(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		createItems(t, db, "BIGINT")
		setStock(t, db, 0)
		hots := []*atomic.Coalescer[int64]{coalescer(t, db), coalescer(t, target.Connect(t, dsn))}
		var sum stdatomic.Int64
		together(64, func(i int) {
			hot := hots[i%2]
			for range 20 {
				op, sign, n := hot.Decrement, int64(-1), int64(1+i%3)
				if i%8 < 2 {
					op, sign = hot.Increment, 1
				}
				_, err := op(context.Background(), n, "sku-1")
				if err == nil {
					sum.Add(sign * n)
				} else if !errors.Is(err, atomic.ErrInsufficient) {
					t.Error(err)
				}
			}
		})
		require.Equal(t, sum.Load(), stockOf[int64](t, db, "sku-1"))
	})
}

// Rows share one connection: those with few callers are not kept waiting by the one with many.
func TestCoalescerFewConnections(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		db.SetMaxOpenConns(1)
		exec(t, db, "UPDATE items SET stock = 1000000")
		hot := coalescer(t, db)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if _, err := hot.DecrementIfPositive(context.Background(), "sku-1"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 50 {
			patience, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := hot.DecrementIfPositive(patience, "sku-0")
			cancel()
			require.NoError(t, err)
		}
		stop()
		wg.Wait()
		require.Equal(t, int64(1000000-50), stockOf[int64](t, db, "sku-0"))
	})
}
