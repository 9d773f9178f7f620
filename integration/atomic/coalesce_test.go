//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
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
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	require.NoError(t, err)
	hot := atomic.Coalesce(stock, opts...)
	t.Cleanup(func() { require.NoError(t, hot.Close()) })
	return hot
}

func TestCoalescerSellOut(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		exec(t, db, "UPDATE items SET stock = 300 WHERE id = 'sku-1'")
		hot := coalescer(t, db)
		var mu sync.Mutex
		seen, refused := map[int64]bool{}, 0
		together(500, func(int) {
			left, err := hot.DecrementIfPositive(context.Background(), "sku-1")
			mu.Lock()
			defer mu.Unlock()
			var r *atomic.RefusedError
			switch {
			case errors.As(err, &r):
				refused++
				if r.Err != atomic.ErrInsufficient || r.Current != int64(0) || left != 0 {
					t.Errorf("%d, %v", left, err)
				}
			case err != nil:
				t.Error(err)
			case seen[left]:
				t.Errorf("%d left twice", left)
			default:
				seen[left] = true
			}
		})
		require.Len(t, seen, 300)
		require.Equal(t, 200, refused)
		require.Zero(t, value[int64](t, db, "SELECT stock FROM items WHERE id = 'sku-1'"))
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
				exec(t, db, "UPDATE items SET stock = "+strconv.FormatInt(most-10, 10)+" WHERE id = 'sku-1'")
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
				left := value[int64](t, db, "SELECT stock FROM items WHERE id = 'sku-1'")
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
		exec(t, db, "UPDATE items SET stock = "+strconv.FormatUint(start, 10)+" WHERE id = 'sku-1'")
		stock, err := atomic.NewCounter[uint64](db, "items", "stock")
		require.NoError(t, err)
		hot := atomic.Coalesce(stock)
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
		require.Equal(t, start+added.Load()-taken.Load(), value[uint64](t, db, "SELECT stock FROM items WHERE id = 'sku-1'"))
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
		exec(t, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT)")
		exec(t, db, "INSERT INTO items (id, stock) VALUES ('sku-1', 0)")
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
		require.Equal(t, sum.Load(), value[int64](t, db, "SELECT stock FROM items"))
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
		require.Equal(t, int64(1000000-50), value[int64](t, db, "SELECT stock FROM items WHERE id = 'sku-0'"))
	})
}
