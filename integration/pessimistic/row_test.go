//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// The gap between SELECT and UPDATE is shut: every one of the decrements counts, in one process and between two.
func TestRowLockKeepsOthersOut(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		createItems(t, pools[0], 1)
		ctx := concurrent.Within(t, time.Minute)
		concurrent.Run(t, 20, func(i int) error {
			for range 5 {
				if err := pessimistic.WithRowLock(ctx, pools[i%2], item(1), take(1)); err != nil {
					return err
				}
			}
			return nil
		})
		require.Equal(t, 0, stockOf(t, pools[0], 1))
	})
}

// A row fits in a struct that does not know all columns, in a map and, with one column, in a scalar.
func TestRowTypes(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)

		err := pessimistic.WithRowLock(t.Context(), db, item(1), func(_ context.Context, tx *sqlx.Tx, it *Item) error {
			require.Equal(t, Item{ID: 1, Stock: 100}, *it)
			var strict Item
			require.Error(t, tx.Get(&strict, "SELECT * FROM items WHERE id = 1"), "the callback's tx is as strict as ever")
			return errDone
		})
		require.ErrorIs(t, err, errDone)

		err = pessimistic.WithRowLock(t.Context(), db, item(1), func(_ context.Context, _ *sqlx.Tx, row *map[string]any) error {
			require.Len(t, *row, 3)
			require.EqualValues(t, 100, (*row)["stock"])
			return nil
		})
		require.NoError(t, err)

		one := item(1)
		one.Columns = []string{"stock"}
		err = pessimistic.WithRowLock(t.Context(), db, one, func(_ context.Context, _ *sqlx.Tx, stock *int) error {
			require.Equal(t, 100, *stock)
			return nil
		})
		require.NoError(t, err)

		err = pessimistic.WithRowLock(t.Context(), db, item(1), func(context.Context, *sqlx.Tx, *int) error {
			t.Error("called")
			return nil
		})
		require.ErrorContains(t, err, "Columns")

		tx, err := sqlx.NewDb(db, "").BeginTxx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		it, err := pessimistic.LockRow[Item](t.Context(), tx, item(1))
		require.NoError(t, err)
		require.Equal(t, int64(100), it.Stock)
	})
}

var errDone = errors.New("done")

func TestMissingRow(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		err := pessimistic.WithRowLock(t.Context(), db, item(7), take(1))
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "items at [7]")
		err = pessimistic.WithRowLocks(t.Context(), db, pessimistic.Rows{Table: "items", Keys: []any{1, 7}},
			func(context.Context, *sqlx.Tx, []*Item) error { t.Error("called"); return nil })
		require.ErrorIs(t, err, sql.ErrNoRows)
	})
}

func TestCompositeKey(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE stock (tenant int, sku varchar(20), n int NOT NULL, PRIMARY KEY (tenant, sku))")
		exec(t, db, "INSERT INTO stock VALUES (1, 'a', 10), (1, 'b', 20), (2, 'a', 30)")
		type Key []any // as atomic.Key is
		for _, key := range []any{[]any{1, "b"}, Key{1, "b"}} {
			row := pessimistic.Row{Table: "stock", KeyColumns: []string{"tenant", "sku"}, Key: key, Columns: []string{"n"}}
			err := pessimistic.WithRowLock(t.Context(), db, row, func(ctx context.Context, tx *sqlx.Tx, n *int) error {
				require.Equal(t, 20, *n)
				_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE stock SET n = n + 1 - 1 WHERE tenant = ? AND sku = ?"), 1, "b")
				return err
			})
			require.NoError(t, err)
		}
		notUnique := pessimistic.Row{Table: "stock", KeyColumns: []string{"tenant"}, Key: 1, Columns: []string{"n"}}
		err := pessimistic.WithRowLock(t.Context(), db, notUnique, func(context.Context, *sqlx.Tx, *int) error { return nil })
		require.ErrorContains(t, err, "not unique")
	})
}

// However the callback ends, other than well: nothing is written, and the connection is free and clean.
func TestRollback(t *testing.T) {
	boom := errors.New("boom")
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		db.SetMaxOpenConns(1)
		ctx := concurrent.Within(t, time.Minute)
		run := func(ctx context.Context, end func()) error {
			return pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
				if err := take(1)(ctx, tx, it); err != nil {
					return err
				}
				end()
				return boom
			})
		}
		t.Run("error", func(t *testing.T) {
			err := run(ctx, func() {})
			require.Equal(t, boom, err, "it comes back as it is")
		})
		t.Run("panic", func(t *testing.T) {
			require.PanicsWithValue(t, 42, func() { run(ctx, func() { panic(42) }) })
		})
		t.Run("Goexit", func(t *testing.T) {
			done := make(chan bool)
			go func() {
				defer close(done)
				run(ctx, runtime.Goexit)
				t.Error("returned")
			}()
			<-done
		})
		t.Run("cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(ctx)
			require.ErrorIs(t, run(ctx, cancel), context.Canceled)
		})
		require.Equal(t, 100, stockOf(t, db, 1))
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1)))
		require.Equal(t, 99, stockOf(t, db, 1))
	})
}

func TestLockRowInOwnTransaction(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 2)
		db.SetMaxOpenConns(1) // nothing of the pool is used
		ctx := concurrent.Within(t, time.Minute)
		tx, err := sqlx.NewDb(db, "postgres").BeginTxx(ctx, nil)
		require.NoError(t, err)
		for _, id := range []int{1, 2, 1} {
			it, err := pessimistic.LockRow[Item](ctx, tx, item(id))
			require.NoError(t, err)
			require.Equal(t, Item{int64(id), 100}, *it)
		}
		_, err = pessimistic.LockRow[Item](ctx, tx, item(3))
		require.ErrorIs(t, err, sql.ErrNoRows)
		_, err = tx.Exec("UPDATE items SET stock = 1")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.Equal(t, 1, stockOf(t, db, 2))
	})
}
