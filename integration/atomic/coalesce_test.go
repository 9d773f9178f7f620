//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	stdatomic "sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/faultproxy"
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

// tally is what the callers of a row were told.
type tally struct {
	acknowledged, unknownUp, unknownDown stdatomic.Int64
	// How many calls came to what. A failed one has taken nothing.
	granted, unknown, refused, cancelled, failed stdatomic.Int64
}

// check compares what is left with what the callers were told. Nobody may have got something for nothing, or the other
// way round, except those who were told that nobody knows.
func (s *tally) check(t *testing.T, start, left int64) {
	t.Helper()
	low, high := start+s.acknowledged.Load()-s.unknownDown.Load(), start+s.acknowledged.Load()+s.unknownUp.Load()
	t.Logf("%d granted, %d refused, %d cancelled, %d unknown, %d failed: %d to %d must be left, %d are",
		s.granted.Load(), s.refused.Load(), s.cancelled.Load(), s.unknown.Load(), s.failed.Load(), low, high, left)
	require.LessOrEqual(t, low, left)
	require.GreaterOrEqual(t, high, left)
	require.GreaterOrEqual(t, left, int64(0))
	require.NotZero(t, s.granted.Load())
	require.NotZero(t, s.refused.Load())
}

// storm makes calls of all kinds, some of which are cancelled.
func (s *tally) storm(t *testing.T, hot *atomic.Coalescer[int64], i, rounds int) {
	rnd := rand.New(rand.NewPCG(uint64(i), 7))
	for range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		if rnd.IntN(8) == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(rnd.IntN(3000))*time.Microsecond)
		}
		n, sign := 1+rnd.Int64N(5), int64(-1)
		var err error
		switch rnd.IntN(6) {
		case 0:
			n = 1
			_, err = hot.DecrementIfPositive(ctx, "sku-1")
		case 1, 2, 3:
			_, err = hot.Decrement(ctx, n, "sku-1")
		case 4:
			sign, n = 1, 3*n
			_, err = hot.Increment(ctx, n, "sku-1")
		default:
			sign, n = 1, 10*n
			_, err = hot.IncrementUpTo(ctx, n, 200, "sku-1")
		}
		stopped := ctx.Err()
		cancel()
		switch {
		case err == nil:
			s.granted.Add(1)
			s.acknowledged.Add(sign * n)
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			s.unknown.Add(1)
			if sign > 0 {
				s.unknownUp.Add(n)
			} else {
				s.unknownDown.Add(n)
			}
		case errors.Is(err, atomic.ErrInsufficient), errors.Is(err, atomic.ErrLimit):
			s.refused.Add(1)
		case stopped != nil && errors.Is(err, stopped):
			s.cancelled.Add(1)
		default:
			s.failed.Add(1)
		}
	}
}

func TestCoalescerStorm(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		exec(t, db, "UPDATE items SET stock = 100 WHERE id = 'sku-1'")
		hot := coalescer(t, db)
		var s tally
		together(500, func(i int) { s.storm(t, hot, i, 10) })
		s.check(t, 100, value[int64](t, db, "SELECT stock FROM items WHERE id = 'sku-1'"))
		require.Zero(t, s.failed.Load())
	})
}

// Two processes, and connections that break.
func TestCoalescerStormOnBadConnections(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		exec(t, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT)")
		exec(t, db, "INSERT INTO items (id, stock) VALUES ('sku-1', 100)")
		proxy, through := target.Proxy(t, dsn)
		bad, err := sql.Open(target.Driver, through)
		require.NoError(t, err)
		defer bad.Close() // some drivers report what was broken
		bad.SetMaxOpenConns(20)
		bad.SetMaxIdleConns(20)
		good := coalescer(t, db)
		hot := coalescer(t, bad, atomic.Timeout(2*time.Second))

		ctx, stop := context.WithCancel(t.Context())
		var cutter sync.WaitGroup
		cutter.Go(func() {
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				proxy.Cut()
			}
		})
		var s tally
		together(500, func(i int) {
			if i%10 == 0 {
				s.storm(t, good, i, 20)
			} else {
				s.storm(t, hot, i, 20)
			}
		})
		stop()
		cutter.Wait()
		s.check(t, 100, value[int64](t, db, "SELECT stock FROM items"))
		require.NotZero(t, s.unknown.Load()+s.failed.Load(), "the connections did break")
	})
}

func TestCoalescerBehindPgBouncer(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		exec(t, db, "UPDATE items SET stock = 100 WHERE id = 'sku-1'")
		hot := coalescer(t, db)
		var s tally
		together(200, func(i int) { s.storm(t, hot, i, 10) })
		s.check(t, 100, value[int64](t, db, "SELECT stock FROM items WHERE id = 'sku-1'"))
		require.Zero(t, s.failed.Load())
	})
}

// On Galera both nodes take the row at the same time, and one of them has to do its batch again.
func TestCoalescerOnGalera(t *testing.T) {
	nodes := matrix.GaleraNodes(t)
	exec(t, nodes[0], "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT)")
	exec(t, nodes[0], "INSERT INTO items (id, stock) VALUES ('sku-1', 100)")
	exec(t, nodes[1], "SET STATEMENT wsrep_sync_wait = 15 FOR SELECT 1")
	hots := []*atomic.Coalescer[int64]{coalescer(t, nodes[0]), coalescer(t, nodes[1])}
	var s tally
	together(100, func(i int) { s.storm(t, hots[i%2], i, 10) })
	left := value[int64](t, nodes[0], "SET STATEMENT wsrep_sync_wait = 15 FOR SELECT stock FROM items")
	s.check(t, 100, left)
}

// One batch whose answer is lost, for sure: all of it is there, and all of its callers know that they do not know.
func TestCoalescerLostAnswer(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		exec(t, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT)")
		exec(t, db, "INSERT INTO items (id, stock) VALUES ('sku-1', 100)")
		proxy, through := target.Proxy(t, dsn)
		bad, err := sql.Open(target.Driver, through)
		require.NoError(t, err)
		defer bad.Close()
		hot := coalescer(t, bad)
		_, err = hot.Increment(t.Context(), 901, "sku-1") // asks the server what it is
		require.NoError(t, err)

		lost := proxy.LoseReply(faultproxy.Executes("<=")) // of the first batch: what a caller alone sends has no upper bound
		var unknown, granted stdatomic.Int64
		together(100, func(int) {
			for range 3 {
				switch _, err := hot.Decrement(context.Background(), 2, "sku-1"); {
				case err == nil:
					granted.Add(1)
				case errors.Is(err, nogap.ErrOutcomeUnknown):
					unknown.Add(1)
				default:
					t.Error(err)
				}
			}
		})
		lost.Await(t)
		require.NotZero(t, unknown.Load())
		require.NotZero(t, granted.Load())
		require.EqualValues(t, 300, unknown.Load()+granted.Load())
		require.EqualValues(t, 1001-2*300, value[int64](t, db, "SELECT stock FROM items"), "once, and not twice")
	})
}

// A server that does not answer costs a batch its Timeout, and a caller alone without a deadline does not hold up the
// others. lib/pq does not give up while it connects: who sends the batch then waits for it, and nobody else.
func TestCoalescerHungServer(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		exec(t, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT)")
		exec(t, db, "INSERT INTO items (id, stock) VALUES ('sku-1', 1000)")
		proxy, through := target.Proxy(t, dsn)
		bad, err := sql.Open(target.Driver, through)
		require.NoError(t, err)
		defer bad.Close()
		bad.SetMaxIdleConns(10)
		hot := coalescer(t, bad, atomic.Timeout(200*time.Millisecond))
		_, err = hot.Increment(t.Context(), 1, "sku-1")
		require.NoError(t, err)

		proxy.Hang()
		const callers, stuck = 50, 2 // the caller alone, and perhaps the one who sends the batch
		errs := make(chan error, callers)
		began := time.Now()
		go together(callers, func(int) {
			_, err := hot.Decrement(context.Background(), 2, "sku-1")
			errs <- err
		})
		unknown := int64(0)
		for range callers - stuck {
			switch err := <-errs; {
			case errors.Is(err, nogap.ErrOutcomeUnknown):
				unknown++
			case err == nil:
				t.Error("granted by a server that hangs")
			case !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			}
		}
		t.Logf("%d callers had their answer after %v", callers-stuck, time.Since(began))
		proxy.Pass()
		proxy.Cut()
		for range stuck {
			if err := <-errs; err == nil || errors.Is(err, nogap.ErrOutcomeUnknown) {
				unknown++ // or known: it counts alike below
			}
		}
		left := int64(0)
		require.Eventually(t, func() bool {
			left, err = hot.Increment(t.Context(), 1, "sku-1")
			return err == nil
		}, 10*time.Second, 10*time.Millisecond)
		require.GreaterOrEqual(t, left, 1002-2*unknown)
	})
}
