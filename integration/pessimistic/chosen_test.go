//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/pessimistic"
)

// unread are the rows of items that nobody has read.
var unread = pessimistic.Rows{Table: "items", Where: "note = 'unread'"}

func idsOf(items []*Item) []int64 {
	ids := []int64{}
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	return ids
}

// The condition chooses the rows, in the order of their keys, and the callback writes them.
func TestRowsOfACondition(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 12)
		exec(t, db, "UPDATE items SET note = 'read' WHERE id IN (3, 5)")
		ctx := concurrent.Within(t, time.Minute)
		rows := unread
		rows.Where, rows.Args = "note = 'unread' AND id > "+first(target)+" -- those that are left", []any{1}
		err := pessimistic.WithRowLocks(ctx, db, rows, func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
			require.Equal(t, []int64{2, 4, 6, 7, 8, 9, 10, 11, 12}, idsOf(items), "by number, and not by text")
			for _, it := range items {
				require.NoError(t, take(1)(ctx, tx, it))
			}
			_, err := tx.ExecContext(ctx, "UPDATE items SET note = 'read' WHERE id <= 6")
			return err
		})
		require.NoError(t, err)
		require.Equal(t, 100, stockOf(t, db, 3))
		require.Equal(t, 99, stockOf(t, db, 4))

		rows.Where, rows.Args = "note = 'unread' AND id < "+first(target), []any{7}
		calls := 0
		err = pessimistic.WithRowLocks(ctx, db, rows, func(_ context.Context, _ *sqlx.Tx, items []*Item) error {
			calls++
			require.NotNil(t, items)
			require.Empty(t, items)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 1, calls, "none is no error")
	})
}

func TestLimitOfACondition(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		createItems(t, db, 3)
		ctx := concurrent.Within(t, time.Minute)
		if !isSQLite(target) {
			holdRow(t, target, dsn) // which the refused call does not wait for
		}
		rows := unread
		rows.Limit = 2
		err := pessimistic.WithRowLocks(ctx, db, rows, func(context.Context, *sqlx.Tx, []*Item) error { t.Error("called"); return nil })
		require.ErrorIs(t, err, pessimistic.ErrTooManyRows)
		require.EqualError(t, err, "pessimistic: items: too many rows: the Limit is 2")
		rows.Limit, rows.Where = 2, "id > 1"
		require.NoError(t, pessimistic.WithRowLocks(ctx, db, rows, func(_ context.Context, _ *sqlx.Tx, items []*Item) error {
			require.Len(t, items, 2)
			return nil
		}))
	})
}

// What has changed while the call waited is looked at again: a row that the condition no longer chooses is left out, one
// that is gone too, and the others are as they are now. A row that has come is not locked.
func TestConditionAfterAWait(t *testing.T) {
	t.Parallel()
	matrix.Run(t, notSQLite(matrix.All()), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, db, 5)
		ctx := concurrent.Within(t, time.Minute)
		tx, err := other.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		for _, statement := range []string{
			"UPDATE items SET note = 'read' WHERE id = 1", "DELETE FROM items WHERE id = 2", "UPDATE items SET stock = 7 WHERE id = 4",
			"INSERT INTO items VALUES (0, 100, 'unread')",
		} {
			_, err := tx.Exec(statement)
			require.NoError(t, err)
		}
		done := make(chan error, 1)
		var got []Item
		var read int
		go func() {
			done <- pessimistic.WithRowLocks(ctx, db, unread, func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
				got = nil
				for _, it := range items {
					got = append(got, *it)
				}
				return tx.GetContext(ctx, &read, "SELECT stock FROM items WHERE id = 4")
			})
		}()
		target.AwaitBlocked(t, other)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-done)
		require.Equal(t, []Item{{3, 100}, {4, 7}, {5, 100}}, got)
		require.Equal(t, 7, read, "what the callback reads is not older than its locks")
	})
}

// onePerServer are the targets on which a lock order that forms a circle shows: the first one of each server that there is.
func onePerServer() []matrix.Target {
	seen := map[nogap.Dialect]bool{}
	return slices.DeleteFunc(notSQLite(matrix.All()), func(target matrix.Target) bool {
		again := seen[target.Dialect]
		seen[target.Dialect] = true
		return again
	})
}

func notSQLite(targets []matrix.Target) []matrix.Target {
	return slices.DeleteFunc(targets, isSQLite)
}

// Rows that the condition does not choose are not locked, also not for a moment, and rows can be inserted beside those that are.
func TestConditionLocksNothingElse(t *testing.T) {
	matrix.Run(t, notSQLite(matrix.All()), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, db, 9)
		ctx := concurrent.Within(t, time.Minute)
		holdRow(t, target, dsn) // row 1 is not chosen, and not waited for
		rows := pessimistic.Rows{Table: "items", Where: "stock = 100 AND id IN (2, 5, 7)"}
		err := pessimistic.WithRowLocks(ctx, db, rows, func(ctx context.Context, _ *sqlx.Tx, items []*Item) error {
			require.Len(t, items, 3)
			require.NoError(t, pessimistic.WithRowLock(ctx, other, item(6), take(1), pessimistic.NoWait()))
			require.ErrorIs(t, pessimistic.WithRowLock(ctx, other, item(5), take(1), pessimistic.NoWait()), pessimistic.ErrLocked)
			_, err := other.ExecContext(ctx, "INSERT INTO items VALUES (10, 100, 'unread')")
			return err
		})
		require.NoError(t, err)

		// NoWait and Timeout name the row that is held.
		rows.Where = "id < 3"
		for _, opt := range []pessimistic.Option{pessimistic.NoWait(), pessimistic.Timeout(100 * time.Millisecond)} {
			err := pessimistic.WithRowLocks(ctx, db, rows, func(context.Context, *sqlx.Tx, []*Item) error { t.Error("called"); return nil }, opt)
			var locked *pessimistic.LockError
			require.ErrorAs(t, err, &locked)
			require.Len(t, locked.Key, 1)
			require.EqualValues(t, 1, locked.Key[0])
		}
	})
}

// A call of the callback's on the pool for one of the rows would wait for itself.
func TestConditionIsHeldInTheCallback(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 3)
		ctx := concurrent.Within(t, time.Minute)
		rows := pessimistic.Rows{Table: "items", Where: "id > 1"}
		calls := 0
		err := pessimistic.WithRowLocks(ctx, db, rows, func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
			calls++
			require.ErrorIs(t, pessimistic.WithRowLock(ctx, db, item(2), notCalled(t)), holding.ErrHeld)
			all := rows
			all.Where = "id > 0"
			err := pessimistic.WithRowLocks(ctx, db, all, func(context.Context, *sqlx.Tx, []*Item) error { t.Error("called"); return nil })
			require.ErrorIs(t, err, holding.ErrHeld, "of the rows that the inner call chooses")
			if !isSQLite(target) {
				require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1)), "another row")
			}
			_, err = pessimistic.LockRow[Item](ctx, tx, item(3))
			return err
		})
		require.NoError(t, err)
		require.Equal(t, 1, calls)
	})
}

// Conditions that overlap, and calls that name keys, from two pools: no deadlock reaches the server, and no money is made
// or lost.
func TestConditionsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	matrix.Run(t, onePerServer(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		const n, workers, turns = 8, 20, 100
		createItems(t, pools[0], n)
		before := deadlocks(t, target, pools[0])
		ctx := concurrent.Within(t, time.Minute)
		move := func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
			if err := take(1)(ctx, tx, items[0]); err != nil {
				return err
			}
			return take(-1)(ctx, tx, items[len(items)-1])
		}
		var attempts atomic.Int64
		concurrent.Run(t, workers, func(w int) error {
			for range turns / workers {
				from := rand.IntN(n-2) + 1
				rows := pessimistic.Rows{Table: "items", Where: fmt.Sprintf("id IN (%d, %d, %d)", from+2, from, from+1)}
				if rand.IntN(2) == 0 {
					rows = pessimistic.Rows{Table: "items", Keys: []any{n, from}}
				}
				err := pessimistic.WithRowLocks(ctx, pools[w%2], rows, func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
					attempts.Add(1)
					return move(ctx, tx, items)
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		require.EqualValues(t, turns, attempts.Load(), "none was run again")
		var sum int64
		require.NoError(t, pools[0].QueryRow("SELECT sum(stock) FROM items").Scan(&sum))
		require.EqualValues(t, n*100, sum)
		require.Equal(t, before, deadlocks(t, target, pools[0]))
	})
}

// keyType is a type of key columns, with a value of it.
type keyType struct{ column, value string }

func keyTypes(target matrix.Target) []keyType {
	switch target.Dialect {
	case nogap.Postgres:
		return []keyType{
			{"BIGINT", "-7"}, {"SMALLINT", "7"}, {"TEXT", "'a b'"}, {"CHAR(5)", "'a'"}, {"VARCHAR(9)", "'ä'"}, {"BYTEA", `'\x00ff61'`},
			{"UUID", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'"}, {"NUMERIC(20,2)", "123456789012345678.90"}, {"BOOLEAN", "true"},
			{"DATE", "'2026-02-28'"}, {"TIMESTAMP", "'2026-02-28 12:30:00.123456'"}, {"TIMESTAMPTZ", "'2026-02-28 12:30:00.123456+02'"},
			{"INET", "'10.0.0.1'"}, {"mood", "'glad'"}, {"TEXT[]", "'{a,b}'"},
		}
	case nogap.SQLite:
		return []keyType{
			{"INTEGER", "-7"}, {"BIGINT", "7"}, {"TEXT", "'a b'"}, {"VARCHAR(9)", "'ä'"}, {"BLOB", "x'00ff61'"}, {"UUID", "'6ba7b810-9dad'"},
			{"", "'7'"}, {"", "7"}, {"BOOLEAN", "1"},
		}
	}
	types := []keyType{
		{"BIGINT", "-7"}, {"BIGINT UNSIGNED", "18446744073709551615"}, {"TINYINT", "7"}, {"VARCHAR(40) COLLATE utf8mb4_general_ci", "'Ab '"},
		{"CHAR(9)", "'ä'"}, {"VARBINARY(9)", "x'00ff61'"}, {"BINARY(4)", "x'00ff6100'"}, {"CHAR(36) CHARACTER SET ascii", "'6ba7b810'"},
		{"DECIMAL(20,2)", "1234567890123.90"}, {"DATE", "'2026-02-28'"}, {"DATETIME(6)", "'2026-02-28 12:30:00.123456'"},
		{"TIMESTAMP(6)", "'2026-02-28 12:30:00.123456'"}, {"ENUM('sad', 'glad')", "'glad'"}, {"YEAR", "2026"}, {"TIME", "'12:30:00'"},
		{"BIT(9)", "b'101100001'"},
	}
	if target.Dialect == nogap.MariaDB {
		types = append(types, keyType{"UUID", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'"}, keyType{"INET6", "'::1'"})
	}
	return types
}

// A row whose key does not equal itself when the driver sends it back would be left out, as if it were gone.
func TestConditionFindsRowsByKeysOfAnyType(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		if target.Dialect == nogap.Postgres {
			exec(t, db, "CREATE TYPE mood AS ENUM ('sad', 'glad')")
		}
		for i, k := range keyTypes(target) {
			table := fmt.Sprintf("keyed%d", i)
			exec(t, db, "CREATE TABLE "+table+" (part INT NOT NULL, id "+k.column+" NOT NULL, stock INT NOT NULL, PRIMARY KEY (part, id))")
			exec(t, db, "INSERT INTO "+table+" VALUES (1, "+k.value+", 5), (2, "+k.value+", 5), (3, "+k.value+", 0)")
			for _, rows := range []pessimistic.Rows{
				{Where: "stock > 0"},
				{Where: "stock > " + first(target), Args: []any{0}},
			} {
				rows.Table, rows.KeyColumns, rows.Columns = table, []string{"part", "id"}, []string{"stock"}
				err := pessimistic.WithRowLocks(concurrent.Within(t, time.Minute), db, rows, func(_ context.Context, _ *sqlx.Tx, stocks []*int) error {
					if len(stocks) != 2 {
						return fmt.Errorf("%d rows", len(stocks))
					}
					return nil
				})
				require.NoError(t, err, "%+v", k)
			}
		}
	})
}

// A key that may not equal itself is an error, and not a row that is left out.
func TestConditionRefusesKeysThatDoNotReturn(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		columns := []string{"REAL"}
		if isSQLite(target) {
			columns = append(columns, "TIMESTAMP")
		}
		for i, column := range columns {
			table := fmt.Sprintf("keyed%d", i)
			exec(t, db, "CREATE TABLE "+table+" (id "+column+" NOT NULL PRIMARY KEY)")
			exec(t, db, "INSERT INTO "+table+" VALUES ("+map[string]string{"REAL": "0.1", "TIMESTAMP": "'2026-02-28 12:30:00'"}[column]+")")
			err := pessimistic.WithRowLocks(concurrent.Within(t, time.Minute), db, pessimistic.Rows{Table: table, Where: "1 = 1"},
				func(context.Context, *sqlx.Tx, []*struct{}) error { return errors.New("called") })
			require.ErrorContains(t, err, `column "id" of the key: `, column)
		}
	})
}
