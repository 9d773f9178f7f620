//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	stdatomic "sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// batches is an Observer that notes the largest batch.
type batches struct{ largest stdatomic.Int64 }

func (b *batches) Start(ctx context.Context, _ nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(r nogap.Result) {
		for {
			most := b.largest.Load()
			if int64(r.Batch) <= most || b.largest.CompareAndSwap(most, int64(r.Batch)) {
				return
			}
		}
	}
}

// manyRows makes the table items with n rows of a stock each, whose keys have the type of a column.
func manyRows(t *testing.T, db *sql.DB, columnType string, n int, key func(i int) string, stock func(i int) string) {
	t.Helper()
	exec(t, db, "CREATE TABLE items (id "+columnType+" PRIMARY KEY, stock BIGINT, version BIGINT NOT NULL DEFAULT 0, "+
		"CHECK (stock < 1000))")
	rows := make([]string, n)
	for i := range rows {
		rows[i] = "(" + key(i) + ", " + stock(i) + ")"
	}
	exec(t, db, "INSERT INTO items (id, stock) VALUES "+strings.Join(rows, ", "))
}

func skuOf(i int) string    { return fmt.Sprintf("sku-%d", i) }
func quoted(i int) string   { return "'" + skuOf(i) + "'" }
func numbered(i int) string { return fmt.Sprint(i) }

// few makes a pool so small that callers wait for it.
func few(db *sql.DB) *sql.DB {
	if db.Stats().MaxOpenConnections != 1 {
		db.SetMaxOpenConns(4)
	}
	return db
}

// sharesCommits reports whether rows are carried out together on a target.
func sharesCommits(target matrix.Target) bool { return target.Dialect != nogap.SQLite }

// TestCoalescerManyRows: rows that share a transaction have an outcome each: what is granted, what is refused, what is not there.
func TestCoalescerManyRows(t *testing.T) {
	keys := map[string]struct {
		column string
		sql    func(int) string
		key    func(int) any
	}{
		"text":    {"VARCHAR(40)", quoted, func(i int) any { return skuOf(i) }},
		"numbers": {"BIGINT", numbered, func(i int) any { return i }},
		"odd text": {
			"VARCHAR(40)", func(i int) string { return fmt.Sprintf("'O''Brien \"%d, {x}'", i) },
			func(i int) any { return fmt.Sprintf(`O'Brien "%d, {x}`, i) },
		},
	}
	for name, k := range keys {
		t.Run(name, func(t *testing.T) {
			matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
				db := target.Open(t)
				const rows, each = 150, 6
				manyRows(t, db, k.column, rows, k.sql, func(i int) string {
					if i == 7 {
						return "NULL"
					}
					return fmt.Sprint(i % 10)
				})
				exec(t, db, "DELETE FROM items WHERE id = "+k.sql(8))
				var seen batches
				defer nogap.Observe(db, &seen)()
				hot := atomic.Coalesce(newStock[int64](t, few(db), atomic.VersionColumn("version")))
				var granted, refused, missing, other [rows]stdatomic.Int64
				together(rows*each, func(n int) {
					i := n % rows
					switch _, err := hot.Decrement(context.Background(), 2, k.key(i)); {
					case err == nil:
						granted[i].Add(1)
					case errors.Is(err, atomic.ErrInsufficient):
						refused[i].Add(1)
					case errors.Is(err, sql.ErrNoRows):
						missing[i].Add(1)
					default:
						other[i].Add(1)
						if i != 7 {
							t.Error(err)
						}
					}
				})
				require.NoError(t, hot.Close())
				for i := range rows {
					switch {
					case i == 7:
						require.EqualValues(t, each, other[i].Load())
					case i == 8:
						require.EqualValues(t, each, missing[i].Load())
					default:
						fit := i % 10 / 2
						require.EqualValues(t, fit, granted[i].Load(), i)
						require.EqualValues(t, each-fit, refused[i].Load(), i)
						require.Equal(t, i%2, value[int](t, db, "SELECT stock FROM items WHERE id = "+k.sql(i)), i)
						if fit > 0 {
							require.NotZero(t, value[int](t, db, "SELECT version FROM items WHERE id = "+k.sql(i)))
						}
					}
				}
				if sharesCommits(target) {
					require.Greater(t, seen.largest.Load(), int64(each), "rows shared a transaction")
				} else {
					require.LessOrEqual(t, seen.largest.Load(), int64(each))
				}
			})
		})
	}
}

// TestCoalescerManyRowsCheck: a constraint that refuses one row does not harm the others.
func TestCoalescerManyRowsCheck(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		const rows, each = 100, 4
		manyRows(t, db, "BIGINT", rows, numbered, func(i int) string {
			if i%50 == 0 {
				return "998" // 999 is the most
			}
			return "0"
		})
		hot := atomic.Coalesce(newStock[int64](t, few(db)))
		var granted, refused [rows]stdatomic.Int64
		together(rows*each, func(n int) {
			i := n % rows
			if _, err := hot.Increment(context.Background(), 1, i); err == nil {
				granted[i].Add(1)
			} else {
				refused[i].Add(1)
				if errors.Is(err, nogap.ErrOutcomeUnknown) || i%50 != 0 {
					t.Error(err)
				}
			}
		})
		for i := range rows {
			if i%50 == 0 {
				require.EqualValues(t, 1, granted[i].Load())
				require.EqualValues(t, each-1, refused[i].Load())
			} else {
				require.EqualValues(t, each, granted[i].Load())
			}
		}
	})
}

// TestCoalescerManyRowsLocked: a row that somebody else has locked holds up its own callers alone.
func TestCoalescerManyRowsLocked(t *testing.T) {
	targets := []matrix.Target{}
	for _, target := range matrix.All() {
		if sharesCommits(target) {
			targets = append(targets, target)
		}
	}
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		const rows = 100
		manyRows(t, db, "BIGINT", rows, numbered, func(int) string { return "5" })
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = tx.Exec("UPDATE items SET stock = stock - 1 WHERE id = 50")
		require.NoError(t, err)
		db.SetMaxOpenConns(8)
		hot := atomic.Coalesce(newStock[int64](t, db), atomic.Timeout(time.Minute))
		locked := make(chan error, 3)
		for range cap(locked) {
			go func() {
				_, err := hot.Decrement(context.Background(), 1, 50)
				locked <- err
			}()
		}
		for range 3 {
			together(rows*3, func(n int) {
				if i := n % rows; i != 50 {
					if _, err := hot.Increment(context.Background(), 1, i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		require.Empty(t, locked)
		require.NoError(t, tx.Commit())
		for range cap(locked) {
			require.NoError(t, <-locked)
		}
		require.Equal(t, 1, value[int](t, db, "SELECT stock FROM items WHERE id = 50"))
	})
}

// TestCoalescerManyRowsWaitForNothing: nobody waits for a row that nobody calls, not over a key of several columns of which one row
// alone changes, nor in a trigger that writes another table.
func TestCoalescerManyRowsWaitForNothing(t *testing.T) {
	const rows = 100
	// calls makes calls for all rows but 50, of which atFifty hears once.
	calls := func(t *testing.T, db *sql.DB, key func(i int) []any, atFifty func(*atomic.Coalescer[int64]), opts ...atomic.Option) {
		t.Helper()
		db.SetMaxOpenConns(8)
		hot := atomic.Coalesce(newStock[int64](t, db, opts...), atomic.Timeout(time.Minute))
		var once sync.Once
		for range 3 {
			together(rows*3, func(n int) {
				i := n % rows
				if i == 50 {
					once.Do(func() { atFifty(hot) })
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				if _, err := hot.Decrement(ctx, 1, key(i)...); err != nil && !errors.Is(err, atomic.ErrInsufficient) {
					t.Error(err)
				}
			})
		}
	}
	stranger := func(t *testing.T, db *sql.DB, query string) (leave func()) {
		t.Helper()
		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = tx.Exec(query)
		require.NoError(t, err)
		return func() { require.NoError(t, tx.Rollback()) }
	}
	var targets []matrix.Target
	for _, target := range matrix.Conformance() {
		if sharesCommits(target) {
			targets = append(targets, target)
		}
	}
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		t.Run("key of two columns", func(t *testing.T) {
			db := target.Open(t)
			exec(t, db, "CREATE TABLE items (a INT, b INT, stock BIGINT, PRIMARY KEY (a, b))")
			for i := range rows {
				exec(t, db, fmt.Sprintf("INSERT INTO items VALUES (%d, 1, 0)", i))
			}
			exec(t, db, "UPDATE items SET stock = 1000 WHERE a = 0 AND b = 1")
			defer stranger(t, db, "UPDATE items SET stock = 1 WHERE a = 50 AND b = 1")()
			calls(t, db, func(i int) []any { return []any{i, 1} }, func(*atomic.Coalescer[int64]) {}, atomic.WithKey("a", "b"))
		})
		t.Run("trigger", func(t *testing.T) {
			db := target.Open(t)
			manyRows(t, db, "BIGINT", rows, numbered, func(int) string { return "500" })
			exec(t, db, "CREATE TABLE audit (id BIGINT PRIMARY KEY, n INT)")
			exec(t, db, "INSERT INTO audit SELECT id, 0 FROM items")
			if mysqlLike(target) {
				exec(t, db, "CREATE TRIGGER audited AFTER UPDATE ON items FOR EACH ROW UPDATE audit SET n = n + 1 WHERE id = NEW.id")
			} else {
				exec(t, db, "CREATE FUNCTION audit() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN "+
					"UPDATE audit SET n = n + 1 WHERE id = NEW.id; RETURN NULL; END $$")
				exec(t, db, "CREATE TRIGGER audited AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION audit()")
			}
			leave := stranger(t, db, "UPDATE audit SET n = 0 WHERE id = 50")
			held := make(chan error, 1)
			calls(t, db, func(i int) []any { return []any{i} }, func(hot *atomic.Coalescer[int64]) {
				go func() {
					_, err := hot.Decrement(context.Background(), 1, 50)
					held <- err
				}()
			})
			require.Empty(t, held)
			leave()
			require.NoError(t, <-held)
		})
	})
}

// TestCoalescerManyRowsTrigger: what callers are told is what is stored.
func TestCoalescerManyRowsTrigger(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		const rows = 100
		manyRows(t, db, "BIGINT", rows, numbered, func(int) string { return "0" })
		clamp(t, db, target.Dialect)
		hot := atomic.Coalesce(newStock[int64](t, few(db)))
		together(rows, func(i int) {
			if left, err := hot.Increment(context.Background(), 94, i); err != nil || left != 50 {
				t.Errorf("%d, %v", left, err)
			}
		})
	})
}

// TestCoalescerManyRowsOfOthers: two processes and somebody who locks rows in the other order.
func TestCoalescerManyRowsOfOthers(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		const rows = 120
		manyRows(t, db, "BIGINT", rows, numbered, func(int) string { return "500" })
		manyRowsStorm(t, target, []*sql.DB{few(db), few(target.Connect(t, dsn))}, rows, target.Connect(t, dsn), func() {})
	})
}

// TestCoalescerManyRowsOnCluster does that on both nodes of a cluster.
func TestCoalescerManyRowsOnCluster(t *testing.T) {
	matrix.EachCluster(t, func(t *testing.T, cluster matrix.Cluster) {
		nodes := cluster.Nodes(t)
		const rows = 120
		manyRows(t, nodes[0], "BIGINT", rows, numbered, func(int) string { return "500" })
		cluster.CatchUp(t, nodes[1])
		for _, node := range nodes {
			node.SetMaxOpenConns(8)
		}
		manyRowsStorm(t, cluster.Target, nodes[:2], rows, nodes[0], func() { cluster.CatchUp(t, nodes[0]) })
	})
}

// manyRowsStorm makes calls over several pools, while a foreign writer changes rows in the opposite order, and compares what
// is left in each row with what the callers were told.
func manyRowsStorm(t *testing.T, target matrix.Target, pools []*sql.DB, rows int, foreign *sql.DB, settle func()) {
	t.Helper()
	hots := make([]*atomic.Coalescer[int64], len(pools))
	for i, db := range pools {
		hots[i] = coalescer(t, db)
	}
	told, unknown := make([]stdatomic.Int64, rows), make([]stdatomic.Int64, rows)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	if target.Dialect != nogap.SQLite {
		writer.Go(func() {
			for rnd := rand.New(rand.NewPCG(1, 1)); ctx.Err() == nil; time.Sleep(time.Millisecond) {
				tx, err := foreign.Begin()
				if err != nil {
					t.Error(err)
					return
				}
				var taken []int
				for i, from := 0, rnd.IntN(rows); err == nil && i < 10; i++ {
					row := (from + rows - 5*i%rows) % rows
					if _, err = tx.Exec(fmt.Sprintf("UPDATE items SET stock = stock + 1 WHERE id = %d", row)); err == nil {
						taken = append(taken, row)
					}
				}
				if err == nil {
					err = tx.Commit()
				}
				if err != nil {
					tx.Rollback() // a deadlock, or a lost certification
					continue
				}
				for _, row := range taken {
					told[row].Add(1)
				}
			}
		})
	}
	together(300, func(n int) {
		rnd := rand.New(rand.NewPCG(uint64(n), 5))
		for range 8 {
			i, by := rnd.IntN(rows), 1+rnd.Int64N(3)
			call, sign := hots[n%len(hots)].Decrement, int64(-1)
			if rnd.IntN(2) == 0 {
				call, sign = hots[n%len(hots)].Increment, 1
			}
			ctx, cancel := context.WithCancel(context.Background())
			if rnd.IntN(10) == 0 {
				ctx, cancel = context.WithTimeout(context.Background(), time.Duration(rnd.IntN(3000))*time.Microsecond)
			}
			_, err := call(ctx, by, i)
			_, bounded := ctx.Deadline()
			cancel()
			switch {
			case err == nil:
				told[i].Add(sign * by)
			case errors.Is(err, nogap.ErrOutcomeUnknown):
				unknown[i].Add(by)
			case !bounded || !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			}
		}
	})
	stop()
	writer.Wait()
	settle()
	for i := range rows {
		left := value[int64](t, pools[0], fmt.Sprintf("SELECT stock FROM items WHERE id = %d", i))
		require.InDelta(t, 500+told[i].Load(), left, float64(unknown[i].Load()), "row %d", i)
	}
}
