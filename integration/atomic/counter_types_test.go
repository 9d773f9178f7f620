//go:build unix

package atomic_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

func TestEdgeOfTheType(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		types := map[string]int64{"BIGINT": math.MaxInt64}
		if target.Dialect != nogap.SQLite { // where every integer has 64 bits
			types["INTEGER"], types["SMALLINT"] = math.MaxInt32, math.MaxInt16
		}
		for columnType, most := range types {
			t.Run(columnType, func(t *testing.T) {
				db := items(t, target, columnType)
				stock := newStock[int64](t, db)
				setStock(t, db, most-1)
				now, err := stock.Increment(t.Context(), 1, "sku-1")
				require.NoError(t, err)
				require.Equal(t, most, now)
				for range 2 {
					_, err = stock.Increment(t.Context(), 1, "sku-1")
					require.ErrorIs(t, err, atomic.ErrLimit)
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				}
				_, err = stock.IncrementUpTo(t.Context(), 1, math.MaxInt64, "sku-1")
				require.ErrorIs(t, err, atomic.ErrLimit)
				_, err = stock.Increment(t.Context(), math.MaxInt64, "sku-1")
				require.ErrorIs(t, err, atomic.ErrLimit)
				require.Equal(t, most, stockOf[int64](t, db, "sku-1"))
			})
		}
	})
}

func TestUnsignedColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return // no other server has unsigned columns
		}
		db := items(t, target, "BIGINT UNSIGNED")
		stock := newStock[uint64](t, db)
		_, err := stock.Decrement(t.Context(), 6, "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		setStock(t, db, "18446744073709551614")
		now, err := stock.Increment(t.Context(), 1, "sku-1")
		require.NoError(t, err)
		require.Equal(t, uint64(math.MaxUint64), now)
		_, err = stock.Increment(t.Context(), 1, "sku-1")
		require.ErrorIs(t, err, atomic.ErrLimit)
		now, err = stock.Decrement(t.Context(), math.MaxUint64, "sku-1")
		require.NoError(t, err)
		require.Zero(t, now)
	})
}

func TestSignedNumbersOnAnUnsignedColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return
		}
		db := items(t, target, "BIGINT UNSIGNED")
		stock := newStock[int64](t, db)
		left, err := stock.DecrementIfPositive(t.Context(), "sku-0")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.Zero(t, left)
		setStock(t, db, "9223372036854775800")
		_, err = stock.Increment(t.Context(), 100, "sku-1")
		require.ErrorIs(t, err, atomic.ErrLimit)
		setStock(t, db, "9223372036854775900")
		_, err = stock.Decrement(t.Context(), 1, "sku-1")
		require.Error(t, err, "it can't be said what is left")
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, "9223372036854775900", stockOf[string](t, db, "sku-1"))
	})
}

// The write stands, so its error must not say otherwise.
func TestNewValueThatDoesNotFit(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		stock := newStock[int8](t, db)
		setStock(t, db, 100)
		_, err := stock.Increment(t.Context(), 100, "sku-1")
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 200, stockOf[int](t, db, "sku-1"))
	})
}

func TestDecimalColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return // it has no exact decimals
		}
		db := items(t, target, "DECIMAL(30,4)")
		balance := newStock[string](t, db)
		ctx := t.Context()
		setStock(t, db, "12345678901234567890.1234")
		left, err := balance.Decrement(ctx, "0.0004", "sku-1")
		require.NoError(t, err)
		require.Equal(t, "12345678901234567890.1230", left)
		left, err = balance.Decrement(ctx, "12345678901234567890.1231", "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.Equal(t, "12345678901234567890.1230", left)
		now, err := balance.IncrementUpTo(ctx, "0.0002", "12345678901234567890.1232", "sku-1")
		require.NoError(t, err)
		require.Equal(t, "12345678901234567890.1232", now)
		_, err = balance.IncrementUpTo(ctx, "0.0001", "12345678901234567890.1232", "sku-1")
		require.ErrorIs(t, err, atomic.ErrLimit)
		require.ErrorIs(t, balance.CompareAndSet(ctx, "12345678901234567890.1233", "1", "sku-1"), atomic.ErrMismatch)
		require.NoError(t, balance.CompareAndSet(ctx, "12345678901234567890.1232", "0.5", "sku-1"))
		_, err = balance.DecrementIfPositive(ctx, "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient, "a half is less than one")
		require.NoError(t, balance.Transfer(ctx, "0.25", atomic.Key{"sku-1"}, atomic.Key{"sku-0"}))
		require.Equal(t, "0.2500", stockOf[string](t, db, "sku-0"))
		for _, bad := range []string{"", "1/2", "-0.1", "NaN", "0x10", "1e3", "1 "} {
			_, err := balance.Increment(ctx, bad, "sku-1")
			require.ErrorContains(t, err, "amount", bad)
		}
	})
}

func TestSQLiteReal(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "REAL")
		text := newStock[string](t, db)
		for _, bad := range []string{"oops", "", "7 apples", "NaN"} {
			require.ErrorContains(t, text.CompareAndSet(t.Context(), "5", bad, "sku-1"), "not a number")
			require.ErrorContains(t, text.CompareAndSet(t.Context(), bad, "5", "sku-0"), "not a number")
			_, err := text.IncrementUpTo(t.Context(), "1", bad, "sku-1")
			require.ErrorContains(t, err, "not a number")
		}
		for _, n := range []string{"0.5", "2"} {
			setStock(t, db, 5)
			c := newStock[string](t, db)
			_, err := c.IncrementUpTo(t.Context(), n, "5.4", "sku-1")
			require.ErrorIs(t, err, atomic.ErrLimit, "a text must be compared as a number")
			_, err = c.IncrementUpTo(t.Context(), n, "7", "sku-1")
			require.NoError(t, err)
			_, err = c.Decrement(t.Context(), "8", "sku-1")
			require.ErrorIs(t, err, atomic.ErrInsufficient)
		}
		f := newStock[float64](t, db)
		setStock(t, db, 5)
		now, err := f.Increment(t.Context(), 0.5, "sku-1")
		require.NoError(t, err)
		require.Equal(t, 5.5, now)
	})
}

// A value with decimal places under an integer type is stored exactly, though it can't be returned so.
func TestIntegersOnADecimalColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return // elsewhere the value that came back would not fit
		}
		db := items(t, target, "DECIMAL(10,2)")
		setStock(t, db, "10.40")
		c := newStock[int64](t, db)
		_, err := c.Decrement(t.Context(), 1, "sku-1")
		require.NoError(t, err)
		require.Equal(t, "9.40", stockOf[string](t, db, "sku-1"))
	})
}

// Whatever the column holds can be added, taken and compared, to its last digit.
func TestLargeAndSmallDecimals(t *testing.T) {
	one := func(zeros int) string { return "1" + strings.Repeat("0", zeros) }
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return // it has no exact decimals
		}
		ctx := t.Context()
		t.Run("large", func(t *testing.T) {
			db := items(t, target, "DECIMAL(65,0)")
			c := newStock[string](t, db)
			setStock(t, db, "5")
			for _, zeros := range []int{35, 39, 63} {
				now, err := c.Increment(ctx, one(zeros), "sku-1")
				require.NoError(t, err, zeros)
				require.Equal(t, one(zeros)[:zeros]+"5", now)
				_, err = c.Decrement(ctx, one(zeros+1), "sku-1")
				require.ErrorIs(t, err, atomic.ErrInsufficient)
				now, err = c.IncrementUpTo(ctx, "1", one(zeros+1), "sku-1")
				require.NoError(t, err)
				require.Equal(t, one(zeros)[:zeros]+"6", now)
				require.NoError(t, c.CompareAndSet(ctx, now, one(zeros), "sku-1"))
				left, err := c.Decrement(ctx, one(zeros), "sku-1")
				require.NoError(t, err)
				require.Equal(t, "0", left)
				setStock(t, db, "5")
			}
			_, err := c.Increment(ctx, one(70), "sku-1")
			require.Error(t, err)
			require.Equal(t, "5", stockOf[string](t, db, "sku-1"))
		})
		t.Run("small", func(t *testing.T) {
			scale := 30
			if target.Dialect != nogap.MySQL {
				scale = 38
			}
			db := items(t, target, fmt.Sprintf("DECIMAL(65,%d)", scale))
			c := newStock[string](t, db)
			setStock(t, db, "0")
			least := "0." + strings.Repeat("0", scale-1) + "1"
			now, err := c.Increment(ctx, least, "sku-1")
			require.NoError(t, err)
			require.Equal(t, least, now)
			require.NoError(t, c.CompareAndSet(ctx, least, least[:len(least)-1]+"3", "sku-1"))
			left, err := c.Decrement(ctx, least, "sku-1")
			require.NoError(t, err)
			require.Equal(t, least[:len(least)-1]+"2", left)
			if mysqlLike(target) { // an amount that the cast would make zero of
				tiny := "0." + strings.Repeat("0", scale) + "9"
				_, err := c.Increment(ctx, tiny, "sku-1")
				require.ErrorContains(t, err, "the amount "+tiny+" is less than a DECIMAL of")
				_, err = c.Decrement(ctx, tiny, "sku-1")
				require.ErrorContains(t, err, "is less than a DECIMAL of")
				require.ErrorContains(t, c.CompareAndSet(ctx, tiny, "0", "sku-0"), "is less than a DECIMAL of")
				_, err = newStock[float64](t, db).IncrementUpTo(ctx, 1, 1e-45, "sku-1")
				require.ErrorContains(t, err, "the amount 1e-45 is less than")
				require.Equal(t, left, stockOf[string](t, db, "sku-1"))
			}
		})
	})
}

// Without strict mode the servers cut what does not fit, and say so in a warning that nobody reads.
func TestLargeDecimalsWithoutStrictMode(t *testing.T) {
	matrix.Run(t, matrix.NotStrict(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		for _, statement := range []string{"CREATE TABLE items (id VARCHAR(20) PRIMARY KEY, stock DECIMAL(65,0) NOT NULL)",
			"INSERT INTO items VALUES ('sku-1', " + strings.Repeat("9", 37) + ")"} {
			_, err := db.Exec(statement)
			require.NoError(t, err)
		}
		c := newStock[string](t, db)
		for _, zeros := range []int{39, 64, 65, 80} {
			_, err := c.Decrement(t.Context(), "1"+strings.Repeat("0", zeros), "sku-1")
			require.Error(t, err, zeros)
			require.Equal(t, strings.Repeat("9", 37), stockOf[string](t, db, "sku-1"), zeros)
		}
	})
}

func TestUnsignedDecimalColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return
		}
		db := items(t, target, "DECIMAL(20,0) UNSIGNED")
		stock := newStock[uint64](t, db)
		setStock(t, db, "18446744073709551614")
		now, err := stock.Increment(t.Context(), 1, "sku-1")
		require.NoError(t, err)
		require.Equal(t, uint64(math.MaxUint64), now)
		left, err := stock.Decrement(t.Context(), 5, "sku-1")
		require.NoError(t, err)
		require.Equal(t, uint64(math.MaxUint64-5), left)
		_, err = stock.Increment(t.Context(), 6, "sku-1")
		require.ErrorIs(t, err, atomic.ErrLimit)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, uint64(math.MaxUint64-5), stockOf[uint64](t, db, "sku-1"))
		setStock(t, db, "18446744073709551700")
		_, err = stock.Decrement(t.Context(), 1, "sku-1")
		require.Error(t, err, "it can't be said what is left")
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, "18446744073709551700", stockOf[string](t, db, "sku-1"))
	})
}
