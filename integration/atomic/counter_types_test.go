//go:build unix

package atomic_test

import (
	"math"
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
