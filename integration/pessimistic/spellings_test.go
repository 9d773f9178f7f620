//go:build unix

package pessimistic_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/pessimistic"
)

// spelling is a type of key columns under which two keys are one row.
type spelling struct {
	name, column string
	stored       any
	other        any // the same row
	distinct     any // another row, which is also there
}

func spellings(target matrix.Target) []spelling {
	number := spelling{"number", "BIGINT", 1, "1", 2}
	zero := spelling{"leading zero", "BIGINT", 1, "01", 2}
	switch target.Dialect {
	case nogap.Postgres:
		return []spelling{
			number,
			zero,
			{"uuid", "UUID", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
				"6ba7b810-9dad-11d1-80b4-00c04fd430c9"},
			{"collation", "VARCHAR(40) COLLATE nocase", "sku-a", "SKU-A", "sku-b"},
		}
	case nogap.SQLite:
		return []spelling{
			number,
			zero,
			{"collation", "TEXT COLLATE NOCASE", "sku-a", "SKU-A", "sku-b"},
			{"no type", "BLOB", "1", "1", 1},
		}
	}
	return []spelling{
		number,
		zero,
		{"collation", "VARCHAR(40) COLLATE utf8mb4_general_ci", "sku-a", "SKU-A", "sku-b"},
		{"trailing blank", "VARCHAR(40) COLLATE utf8mb4_bin", "sku-a", "sku-a ", "SKU-A"},
	}
}

// eachSpelling runs a test on a table of the rows stored and distinct.
func eachSpelling(t *testing.T, test func(t *testing.T, target matrix.Target, s spelling)) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for _, s := range spellings(target) {
			t.Run(s.name, func(t *testing.T) { test(t, target, s) })
		}
	})
}

func spelt(t *testing.T, target matrix.Target, s spelling) *sqlx.DB {
	t.Helper()
	db := sqlx.NewDb(target.Open(t), map[nogap.Dialect]string{nogap.Postgres: "postgres"}[target.Dialect])
	if s.name == "collation" && target.Dialect == nogap.Postgres {
		db.MustExec("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
	}
	db.MustExec("CREATE TABLE spelt (id " + s.column + " NOT NULL PRIMARY KEY, stock INT NOT NULL)")
	insert := db.Rebind("INSERT INTO spelt (id, stock) VALUES (?, 100)")
	db.MustExec(insert, s.stored)
	db.MustExec(insert, s.distinct)
	return db
}

type speltItem struct {
	Stock int `db:"stock"`
}

// One row is one pointer, however its key is spelt: a transfer from a row to itself makes no money.
func TestTwoSpellingsAreOneRow(t *testing.T) {
	eachSpelling(t, func(t *testing.T, target matrix.Target, s spelling) {
		db := spelt(t, target, s)
		rows := pessimistic.Rows{Table: "spelt", Keys: []any{s.other, s.distinct, s.stored}}
		ctx := concurrent.Within(t, time.Minute)
		err := pessimistic.WithRowLocks(ctx, db.DB, rows, func(ctx context.Context, tx *sqlx.Tx, items []*speltItem) error {
			require.Same(t, items[0], items[2])
			require.NotSame(t, items[0], items[1])
			items[0].Stock -= 50
			items[2].Stock += 50
			for i, key := range rows.Keys {
				_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE spelt SET stock = ? WHERE id = ?"), items[i].Stock, key)
				if err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, err)
		var sum int
		require.NoError(t, db.Get(&sum, "SELECT sum(stock) FROM spelt"))
		require.Equal(t, 200, sum)

		rows.Columns = []string{"stock"}
		err = pessimistic.WithRowLocks(ctx, db.DB, rows, func(_ context.Context, _ *sqlx.Tx, stocks []*int) error {
			require.Same(t, stocks[0], stocks[2])
			require.NotSame(t, stocks[0], stocks[1])
			return nil
		})
		require.NoError(t, err)
		rows.Columns = nil
		err = pessimistic.WithRowLocks(ctx, db.DB, rows, func(_ context.Context, _ *sqlx.Tx, all []*map[string]any) error {
			require.Same(t, all[0], all[2])
			require.Len(t, *all[0], 2)
			require.Contains(t, *all[0], "id")
			require.Equal(t, "100", asText((*all[1])["stock"]))
			return nil
		})
		require.NoError(t, err)
	})
}

func asText(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

// A call for a row that a callback around it has locked is refused, however its key and its table are spelt. One for
// another row is not.
func TestHeldUnderAnotherSpelling(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, s := range spellings(target) {
			t.Run(s.name, func(t *testing.T) {
				db := spelt(t, target, s)
				for _, table := range tableSpellings(t, target, db) {
					for _, key := range []any{s.stored, s.other} {
						requireHeld(t, target, db, s, table, key)
					}
				}
			})
		}
	})
}

// tableSpellings returns names that the server knows for the table spelt.
func tableSpellings(t *testing.T, target matrix.Target, db *sqlx.DB) []string {
	t.Helper()
	names := []string{"spelt"}
	switch target.Dialect {
	case nogap.Postgres:
		return append(names, "public.spelt")
	case nogap.SQLite:
		return append(names, "main.spelt", "SPELT")
	}
	var database string
	var folds bool
	require.NoError(t, db.QueryRow("SELECT DATABASE(), @@lower_case_table_names <> 0").Scan(&database, &folds))
	if names = append(names, database+".spelt"); folds {
		names = append(names, "SPELT")
	}
	return names
}

func requireHeld(t *testing.T, target matrix.Target, db *sqlx.DB, s spelling, table string, key any) {
	t.Helper()
	ctx := concurrent.Within(t, time.Minute)
	stock, err := atomic.NewCounter[int64](db.DB, table, "stock")
	require.NoError(t, err)
	nothing := func(context.Context, *sqlx.Tx, *speltItem) error { return nil }
	row := pessimistic.Row{Table: "spelt", Key: s.stored}
	err = pessimistic.WithRowLock(ctx, db.DB, row, func(ctx context.Context, tx *sqlx.Tx, _ *speltItem) error {
		err := pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: table, Key: key}, nothing)
		require.ErrorIs(t, err, holding.ErrHeld, "%s at %v", table, key)
		_, err = stock.Decrement(ctx, 1, key)
		require.ErrorIs(t, err, holding.ErrHeld, "%s at %v", table, key)
		err = stock.Transfer(ctx, 1, atomic.Key{s.distinct}, atomic.Key{key})
		require.ErrorIs(t, err, holding.ErrHeld, "%s at %v", table, key)
		if target.Dialect != nogap.SQLite { // where every write in a callback is refused
			require.NoError(t, pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: table, Key: s.distinct}, nothing))
			_, err = stock.Decrement(ctx, 1, s.distinct)
			require.NoError(t, err, "another row")
		}
		_, err = stock.WithTx(tx).Decrement(ctx, 1, key)
		return err
	})
	require.NoError(t, err)
}

// A Transfer to oneself, and a cart that names one row twice, are in two spellings what they are in one.
func TestChangesInTwoSpellings(t *testing.T) {
	eachSpelling(t, func(t *testing.T, target matrix.Target, s spelling) {
		db := spelt(t, target, s)
		ctx := concurrent.Within(t, time.Minute)
		stock, err := atomic.NewCounter[int64](db.DB, "spelt", "stock")
		require.NoError(t, err)
		for _, pair := range [][2]any{{s.stored, s.other}, {s.other, s.stored}, {s.stored, s.stored}} {
			a, b := atomic.Key{pair[0]}, atomic.Key{pair[1]}
			require.NoError(t, stock.Transfer(ctx, 100, a, b))
			var refused *atomic.RefusedError
			err := stock.Transfer(ctx, 101, a, b)
			require.ErrorIs(t, err, atomic.ErrInsufficient, "%v", pair)
			require.ErrorAs(t, err, &refused)
			require.Equal(t, int64(100), refused.Current)
			items := []atomic.Item[int64]{{Key: a, N: 60}, {Key: b, N: 41}}
			require.ErrorIs(t, stock.DecrementAll(ctx, items), atomic.ErrInsufficient)
		}
		require.NoError(t, stock.Transfer(ctx, 60, atomic.Key{s.distinct}, atomic.Key{s.other}))
		require.NoError(t, stock.Transfer(ctx, 160, atomic.Key{s.stored}, atomic.Key{s.distinct}))
		require.ErrorIs(t, stock.Transfer(ctx, 1, atomic.Key{s.other}, atomic.Key{s.distinct}), atomic.ErrInsufficient)
		require.NoError(t, stock.DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{s.distinct}, N: 200}}))
	})
}
