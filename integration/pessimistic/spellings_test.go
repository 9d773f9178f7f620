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
	"github.com/nogap-go/nogap/integration/spelling"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// eachSpelling runs a test on a table of the rows stored and distinct.
func eachSpelling(t *testing.T, test func(t *testing.T, target matrix.Target, s spelling.Spelling)) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for _, s := range spelling.All(target.Dialect) {
			t.Run(s.Name, func(t *testing.T) { test(t, target, s) })
		}
	})
}

func spelt(t *testing.T, target matrix.Target, s spelling.Spelling) *sqlx.DB {
	t.Helper()
	db := sqlx.NewDb(target.Open(t), map[nogap.Dialect]string{nogap.Postgres: "postgres"}[target.Dialect])
	s.Prepare(t, db.DB, target.Dialect)
	db.MustExec("CREATE TABLE spelt (id " + s.Column + " NOT NULL PRIMARY KEY, stock INT NOT NULL DEFAULT 0)")
	insert := db.Rebind("INSERT INTO spelt (id, stock) VALUES (?, 100)")
	db.MustExec(insert, s.Stored)
	db.MustExec(insert, s.Distinct)
	return db
}

type speltItem struct {
	Stock int `db:"stock"`
}

// One row is one pointer, however its key is spelt: a transfer from a row to itself makes no money.
func TestTwoSpellingsAreOneRow(t *testing.T) {
	eachSpelling(t, func(t *testing.T, target matrix.Target, s spelling.Spelling) {
		db := spelt(t, target, s)
		rows := pessimistic.Rows{Table: "spelt", Keys: []any{s.Other, s.Distinct, s.Stored}}
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
		for _, s := range spelling.All(target.Dialect) {
			t.Run(s.Name, func(t *testing.T) {
				db := spelt(t, target, s)
				for _, table := range tableSpellings(t, target, db) {
					for _, key := range []any{s.Stored, s.Other} {
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

func requireHeld(t *testing.T, target matrix.Target, db *sqlx.DB, s spelling.Spelling, table string, key any) {
	t.Helper()
	ctx := concurrent.Within(t, time.Minute)
	stock, err := atomic.NewCounter[int64](db.DB, table, "stock")
	require.NoError(t, err)
	nothing := func(context.Context, *sqlx.Tx, *speltItem) error { return nil }
	row := pessimistic.Row{Table: "spelt", Key: s.Stored}
	err = pessimistic.WithRowLock(ctx, db.DB, row, func(ctx context.Context, tx *sqlx.Tx, _ *speltItem) error {
		err := pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: table, Key: key}, nothing)
		require.ErrorIs(t, err, holding.ErrHeld, "%s at %v", table, key)
		_, err = stock.Decrement(ctx, 1, key)
		require.ErrorIs(t, err, holding.ErrHeld, "%s at %v", table, key)
		err = stock.Transfer(ctx, 1, atomic.Key{s.Distinct}, atomic.Key{key})
		require.ErrorIs(t, err, holding.ErrHeld, "%s at %v", table, key)
		if target.Dialect != nogap.SQLite { // where every write in a callback is refused
			require.NoError(t, pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: table, Key: s.Distinct}, nothing))
			_, err = stock.Decrement(ctx, 1, s.Distinct)
			require.NoError(t, err, "another row")
		}
		_, err = stock.WithTx(tx).Decrement(ctx, 1, key)
		return err
	})
	require.NoError(t, err)
}

// So is one for a row that the callback's transaction has inserted, which another connection does not see.
func TestInsertedUnderAnotherSpelling(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, s := range spelling.All(target.Dialect) {
			t.Run(s.Name, func(t *testing.T) {
				db := spelt(t, target, s)
				stock, err := atomic.NewCounter[int64](db.DB, "spelt", "stock")
				require.NoError(t, err)
				members, err := atomic.NewSet(db.DB, "spelt", []string{"id"})
				require.NoError(t, err)
				ctx := concurrent.Within(t, time.Minute)
				for _, keys := range [][2]any{{s.Stored, s.Other}, {s.Other, s.Stored}} {
					_, err = db.Exec(db.Rebind("DELETE FROM spelt WHERE id = ?"), s.Stored)
					require.NoError(t, err)
					err = transaction.Run(ctx, db.DB, func(ctx context.Context, tx *sqlx.Tx) error {
						added, err := members.WithTx(tx).Add(ctx, keys[0])
						require.NoError(t, err)
						require.True(t, added)
						_, err = members.Add(ctx, keys[1])
						require.ErrorIs(t, err, holding.ErrHeld, "%v", keys)
						_, err = stock.Increment(ctx, 1, keys[1])
						require.ErrorIs(t, err, holding.ErrHeld, "%v", keys)
						if target.Dialect != nogap.SQLite { // where every write in a callback is refused
							_, err = stock.Increment(ctx, 1, s.Distinct)
							require.NoError(t, err, "another row")
						}
						return nil
					})
					require.NoError(t, err)
				}
			})
		}
	})
}

// A Transfer to oneself, and a cart that names one row twice, are in two spellings what they are in one.
func TestChangesInTwoSpellings(t *testing.T) {
	eachSpelling(t, func(t *testing.T, target matrix.Target, s spelling.Spelling) {
		db := spelt(t, target, s)
		ctx := concurrent.Within(t, time.Minute)
		stock, err := atomic.NewCounter[int64](db.DB, "spelt", "stock")
		require.NoError(t, err)
		for _, pair := range [][2]any{{s.Stored, s.Other}, {s.Other, s.Stored}, {s.Stored, s.Stored}} {
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
		require.NoError(t, stock.Transfer(ctx, 60, atomic.Key{s.Distinct}, atomic.Key{s.Other}))
		require.NoError(t, stock.Transfer(ctx, 160, atomic.Key{s.Stored}, atomic.Key{s.Distinct}))
		require.ErrorIs(t, stock.Transfer(ctx, 1, atomic.Key{s.Other}, atomic.Key{s.Distinct}), atomic.ErrInsufficient)
		require.NoError(t, stock.DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{s.Distinct}, N: 200}}))
	})
}
