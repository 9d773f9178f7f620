//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// TestLimitOfTheColumn: without a strict sql_mode the servers would store the largest value that the column holds, and what
// was added beyond it would be gone.
func TestLimitOfTheColumn(t *testing.T) {
	matrix.Run(t, matrix.NotStrict(), func(t *testing.T, target matrix.Target) {
		for columnType, near := range map[string]string{
			"TINYINT": "100", "INT": "2147483600", "INT UNSIGNED": "4294967200",
			"BIGINT": "9223372036854775800", "BIGINT UNSIGNED": "18446744073709551600", "DECIMAL(6,2)": "9950.25", "FLOAT": "3.4e38",
		} {
			t.Run(columnType, func(t *testing.T) {
				db := items(t, target, columnType)
				setStock(t, db, near)
				exec(t, db, "INSERT INTO items (id, stock) VALUES ('payer', "+near+")")
				switch columnType {
				case "FLOAT":
					keepsAll(t, db, 1e38)
				case "BIGINT UNSIGNED":
					keepsAll[uint64](t, db, 100)
					keepsAll(t, db, "100")
				default:
					keepsAll[int64](t, db, 100)
					keepsAll(t, db, "100")
				}
			})
		}
	})
}

// keepsAll adds an amount to a row that can't hold it.
func keepsAll[N any](t *testing.T, db *sql.DB, amount N) {
	t.Helper()
	before := stockOf[string](t, db, "sku-1")
	ctx, full := t.Context(), atomic.Key{"sku-1"}
	stock := newStock[N](t, db)
	item := []atomic.Item[N]{{Key: full, N: amount}}
	for name, add := range map[string]func() error{
		"Increment": func() error { _, err := stock.Increment(ctx, amount, full...); return err },
		"Transfer":  func() error { return stock.Transfer(ctx, amount, atomic.Key{"payer"}, full) },
		"all":       func() error { return stock.IncrementAll(ctx, item) },
	} {
		err := add()
		require.ErrorIs(t, err, atomic.ErrLimit, name)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, name)
		require.Equal(t, before, stockOf[string](t, db, "sku-1"), name)
		require.Equal(t, before, stockOf[string](t, db, "payer"), name)
	}
}

func TestValueThatDoesNotFit(t *testing.T) {
	matrix.Run(t, matrix.NotStrict(), func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		db := items(t, target, "TINYINT")
		setStock(t, db, 100)
		stock := newStock[int64](t, db)
		_, err := stock.IncrementUpTo(ctx, 50, 1000, "sku-1")
		require.ErrorIs(t, err, atomic.ErrLimit)
		require.ErrorContains(t, stock.CompareAndSet(ctx, 100, 1000, "sku-1"), "the column would not hold what was written")
		creating := newStock[int64](t, db, atomic.CreateMissing())
		_, err = creating.Increment(ctx, 1000, "new")
		require.ErrorIs(t, err, atomic.ErrLimit)
		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = creating.WithTx(tx).Increment(ctx, 1000, "new")
		require.ErrorIs(t, err, atomic.ErrLimit)
		require.NoError(t, tx.Rollback())
		require.Equal(t, 0, value[int](t, db, "SELECT count(*) FROM items WHERE id = 'new'"))

		// Of what is added at once only so much is added as fits.
		hot := atomic.Coalesce(stock)
		var added stdatomic.Int64
		together(10, func(int) {
			switch _, err := hot.Increment(context.Background(), 10, "sku-1"); {
			case err == nil:
				added.Add(1)
			case !errors.Is(err, atomic.ErrLimit):
				t.Error(err)
			}
		})
		require.Equal(t, int64(2), added.Load())
		require.Equal(t, int64(120), stockOf[int64](t, db, "sku-1"))

		exec(t, db, "CREATE TABLE tags (name VARCHAR(5) PRIMARY KEY)")
		tags, err := atomic.NewSet(db, "tags", []string{"name"})
		require.NoError(t, err)
		for range 2 {
			_, err = tags.Add(ctx, "longer")
			require.ErrorContains(t, err, "tags at [longer]")
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, 0, value[int](t, db, "SELECT count(*) FROM tags"))
	})
}
