//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// series makes the table of numbers, of which there are none yet.
func series(tb testing.TB, db *sql.DB, columnType string) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE numbers (series VARCHAR(20) PRIMARY KEY, n "+columnType+" NOT NULL, most BIGINT NOT NULL DEFAULT 3, note VARCHAR(20) DEFAULT 'kept')")
}

func newNumbers[N any](tb testing.TB, db *sql.DB, opts ...atomic.Option) *atomic.Counter[N] {
	tb.Helper()
	c, err := atomic.NewCounter[N](db, "numbers", "n", append(opts, atomic.WithKey("series"), atomic.CreateMissing())...)
	require.NoError(tb, err)
	return c
}

func TestCreateMissing(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		t.Run("integers", func(t *testing.T) {
			testCreateMissing[int64](t, target, "BIGINT", 3, 4, 0)
		})
		t.Run("decimals", func(t *testing.T) {
			testCreateMissing(t, target, "NUMERIC(10,2)", "3", "4", "0")
		})
	})
}

func testCreateMissing[N comparable](t *testing.T, target matrix.Target, columnType string, three, four, zero N) {
	db := target.Open(t)
	series(t, db, columnType)
	count := func() int { return value[int](t, db, "SELECT count(*) FROM numbers") }
	equal := func(want, got N, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Zero(t, compareNumbers(want, got), "%v, %v", want, got)
	}
	check := func(c *atomic.Counter[N], key string) {
		ctx := t.Context()
		for _, call := range []struct {
			do  func() (N, error)
			err error
		}{
			{func() (N, error) { return c.Decrement(ctx, three, key) }, atomic.ErrInsufficient},
			{func() (N, error) { return c.DecrementIfPositive(ctx, key) }, atomic.ErrInsufficient},
			{func() (N, error) { return c.IncrementUpTo(ctx, four, three, key) }, atomic.ErrLimit},
			{func() (N, error) { return c.Decrement(ctx, zero, key) }, nil},
			{func() (N, error) { return c.Increment(ctx, zero, key) }, nil},
		} {
			n, err := call.do()
			if call.err == nil {
				equal(zero, n, err)
				continue
			}
			require.ErrorIs(t, err, call.err)
			var refused *atomic.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Zero(t, compareNumbers(zero, refused.Current.(N)))
			require.Equal(t, atomic.Key{key}, refused.Key)
		}
		for _, err := range []error{
			c.CompareAndSet(ctx, zero, four, key),
			c.IncrementAll(ctx, []atomic.Item[N]{{Key: atomic.Key{key}, N: three}}),
			c.DecrementAll(ctx, []atomic.Item[N]{{Key: atomic.Key{key}, N: three}}),
			c.Transfer(ctx, zero, atomic.Key{key}, atomic.Key{"other"}),
		} {
			require.ErrorIs(t, err, sql.ErrNoRows)
		}
		_, err := c.Get(ctx, key)
		require.ErrorIs(t, err, sql.ErrNoRows)
	}
	c := newNumbers[N](t, db)
	check(c, "a")
	require.Zero(t, count(), "a refusal leaves no row")
	n, err := c.Increment(t.Context(), three, "a")
	equal(three, n, err)
	n, err = c.IncrementUpTo(t.Context(), three, four, "b")
	equal(three, n, err)
	n, err = c.DecrementIfPositive(t.Context(), "b")
	require.NoError(t, err)
	require.NotEqual(t, zero, n)
	require.Equal(t, 2, count())

	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	check(c.WithTx(tx), "c")
	n, err = c.WithTx(tx).Increment(t.Context(), three, "c")
	equal(three, n, err)
	_, err = c.WithTx(tx).IncrementUpTo(t.Context(), four, three, "d")
	require.ErrorIs(t, err, atomic.ErrLimit)
	require.NoError(t, tx.Commit())
	require.Equal(t, 3, count(), "a refusal in a transaction leaves no row either")
	require.Equal(t, 3, value[int](t, db, "SELECT count(*) FROM numbers WHERE note = 'kept'"))
}

// compareNumbers compares two numbers, which servers may write with decimals.
func compareNumbers[N any](a, b N) int {
	var x, y float64
	fmt.Sscan(fmt.Sprint(a), &x)
	fmt.Sscan(fmt.Sprint(b), &y)
	return int(x - y)
}

// With Where the condition looks at the row as it would be made.
func TestCreateMissingWhere(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		series(t, db, "BIGINT")
		c := newNumbers[int64](t, db, atomic.Where("most > 3"))
		_, err := c.Increment(t.Context(), 2, "a")
		require.ErrorIs(t, err, atomic.ErrConditionFailed)
		require.Zero(t, value[int](t, db, "SELECT count(*) FROM numbers"))
		n, err := newNumbers[int64](t, db, atomic.Where("most = 3")).Increment(t.Context(), 2, "a")
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
	})
}

// A sum that the column can't hold leaves no row.
func TestCreateMissingOverflow(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return // whose columns hold any integer
		}
		db := target.Open(t)
		series(t, db, "SMALLINT")
		_, err := newNumbers[int64](t, db).Increment(t.Context(), math.MaxInt32, "a")
		require.ErrorIs(t, err, atomic.ErrLimit)
		require.Zero(t, value[int](t, db, "SELECT count(*) FROM numbers"))
	})
}

// What the table lacks is an error that names it.
func TestCreateMissingNeeds(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE numbers (series VARCHAR(20) PRIMARY KEY, n BIGINT NOT NULL, owner VARCHAR(20) NOT NULL)")
		c := newNumbers[int64](t, db)
		_, err := c.Increment(t.Context(), 1, "a")
		require.ErrorContains(t, err, "CreateMissing: a column without a default")
		require.ErrorContains(t, err, "owner")
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = c.WithTx(tx).Increment(t.Context(), 1, "a")
		require.ErrorContains(t, err, "owner")
		require.NoError(t, tx.Rollback())

		exec(t, db, "DROP TABLE numbers")
		exec(t, db, "CREATE TABLE numbers (series VARCHAR(20), n BIGINT NOT NULL)")
		_, err = newNumbers[int64](t, db).Increment(t.Context(), 1, "a")
		require.ErrorIs(t, err, atomic.ErrNoUniqueIndex)
		require.ErrorContains(t, err, "CreateMissing")
	})
}

// A trigger that changes what is inserted is seen: the value is what is stored.
func TestCreateMissingTrigger(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		series(t, db, "BIGINT")
		body := "SET NEW.n = NEW.n + 100"
		switch target.Dialect {
		case nogap.Postgres:
			body = "NEW.n := NEW.n + 100; RETURN NEW;"
		case nogap.SQLite:
			exec(t, db, "CREATE TRIGGER meddle AFTER INSERT ON numbers BEGIN UPDATE numbers SET n = n + 100 WHERE series = NEW.series; END")
		}
		if target.Dialect != nogap.SQLite {
			meddle(t, db, target.Dialect, "INSERT", "numbers", body)
		}
		n, err := newNumbers[int64](t, db).Increment(t.Context(), 2, "a")
		require.NoError(t, err)
		require.EqualValues(t, 102, n)
		require.EqualValues(t, 102, value[int64](t, db, "SELECT n FROM numbers"))
	})
}

// TestCreateMissingTogether: of 30 callers who find no row each gets a number of its own.
func TestCreateMissingTogether(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for name, hot := range map[string]bool{"Counter": false, "Coalescer": true} {
			t.Run(name, func(t *testing.T) {
				db := target.Open(t)
				series(t, db, "BIGINT")
				c := newNumbers[int64](t, db)
				increment, decrement := c.Increment, c.Decrement
				if hot {
					h := atomic.Coalesce(c)
					defer h.Close()
					increment, decrement = h.Increment, h.Decrement
				}
				for _, key := range []string{"a", "b", "c"} {
					_, err := decrement(t.Context(), 1, key)
					require.ErrorIs(t, err, atomic.ErrInsufficient)
					gapless(t, 30, func(int) (int64, error) { return increment(context.Background(), 1, key) })
				}
			})
		}
	})
}

// gapless has callers who must get the numbers from 1 on, each one.
func gapless(t *testing.T, callers int, next func(i int) (int64, error)) {
	t.Helper()
	var mu sync.Mutex
	var got, want []int64
	together(callers, func(i int) {
		n, err := next(i)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, n)
	})
	for i := range callers {
		want = append(want, int64(i+1))
	}
	slices.Sort(got)
	require.Equal(t, want, got)
}

// TestFirstInvoiceOfTheMonth: 20 transactions at once begin a series, and nobody runs one again. No deadlock, no gap, also
// where the key is not the primary one, and where a transaction has read before.
func TestFirstInvoiceOfTheMonth(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for name, table := range map[string]string{
			"primary": "CREATE TABLE numbers (series VARCHAR(20) PRIMARY KEY, n BIGINT NOT NULL)",
			"unique":  "CREATE TABLE numbers (id BIGINT, n BIGINT NOT NULL, series VARCHAR(20) NOT NULL, UNIQUE (series))",
		} {
			t.Run(name, func(t *testing.T) {
				db := target.Open(t)
				exec(t, db, table)
				exec(t, db, "INSERT INTO numbers (series, n) VALUES ('2025-12', 7)")
				exec(t, db, "CREATE TABLE invoices (month VARCHAR(20), n BIGINT, UNIQUE (month, n))")
				insert := "INSERT INTO invoices VALUES (?, ?)"
				if target.Dialect == nogap.Postgres {
					insert = "INSERT INTO invoices VALUES ($1, $2)"
				}
				c := newNumbers[int64](t, db)
				for month := 1; month <= 12; month++ {
					key := fmt.Sprintf("2026-%02d", month)
					gapless(t, 20, func(int) (n int64, err error) {
						tx, err := db.BeginTx(context.Background(), nil)
						if err != nil {
							return 0, err
						}
						defer tx.Rollback()
						if n, err = c.WithTx(tx).Increment(context.Background(), 1, key); err != nil {
							return 0, err
						}
						if _, err = tx.Exec(insert, key, n); err != nil {
							return 0, err
						}
						return n, tx.Commit()
					})
				}
				require.Equal(t, 240, value[int](t, db, "SELECT count(*) FROM invoices"))
			})
		}
	})
}

// A number that was given in a transaction that is rolled back is given again.
func TestRolledBackInvoice(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		series(t, db, "BIGINT")
		c := newNumbers[int64](t, db)
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Rollback, (*sql.Tx).Commit} {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback()
			n, err := c.WithTx(tx).Increment(t.Context(), 1, "a")
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			require.NoError(t, end(tx))
		}
		require.EqualValues(t, 1, value[int64](t, db, "SELECT n FROM numbers"))
	})
}

func TestGet(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		stock := newStock[int64](t, db)
		n, err := stock.Get(t.Context(), "sku-1")
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
		_, err = stock.Get(t.Context(), "none")
		require.ErrorIs(t, err, sql.ErrNoRows)
		_, err = stock.Get(t.Context(), "sku-null")
		require.ErrorContains(t, err, "NULL")
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = stock.WithTx(tx).Decrement(t.Context(), 2, "sku-1")
		require.NoError(t, err)
		n, err = stock.WithTx(tx).Get(t.Context(), "sku-1")
		require.NoError(t, err)
		require.EqualValues(t, 3, n, "what the transaction has written")
	})
}

func TestIncrementAll(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		stock := newStock[int64](t, db)
		item := func(key string, n int64) atomic.Item[int64] { return atomic.Item[int64]{Key: atomic.Key{key}, N: n} }
		require.NoError(t, stock.IncrementAll(t.Context(), nil))
		require.NoError(t, stock.IncrementAll(t.Context(), []atomic.Item[int64]{item("sku-1", 2), item("sku-0", 3), item("sku-1", 1)}))
		require.EqualValues(t, 8, stockOf[int64](t, db, "sku-1"))
		require.EqualValues(t, 3, stockOf[int64](t, db, "sku-0"))
		require.ErrorIs(t, stock.IncrementAll(t.Context(), []atomic.Item[int64]{item("sku-1", 2), item("none", 3)}), sql.ErrNoRows)
		err := stock.IncrementAll(t.Context(), []atomic.Item[int64]{item("sku-0", 1), item("sku-1", math.MaxInt64)})
		require.ErrorIs(t, err, atomic.ErrLimit)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		require.NoError(t, stock.WithTx(tx).IncrementAll(t.Context(), []atomic.Item[int64]{item("sku-1", 2), item("sku-0", 3)}))
		require.NoError(t, tx.Rollback())
		require.EqualValues(t, 8, stockOf[int64](t, db, "sku-1"))
		require.EqualValues(t, 3, stockOf[int64](t, db, "sku-0"))
	})
}
