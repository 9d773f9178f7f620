//go:build unix

package racetest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

type item struct {
	ID      int64 `db:"id"`
	Stock   int64 `db:"stock"`
	Version int64 `db:"version"`
}

// helpers are programs that use nogap.
var helpers = []program{
	{name: "atomic.Counter", schema: stock, data: one, clients: both(func(ctx context.Context, db *sqlx.DB) error {
		c, err := atomic.NewCounter[int64](db.DB, "items", "stock")
		if err != nil {
			return err
		}
		_, err = c.DecrementIfPositive(ctx, 1)
		return err
	})},
	{name: "atomic.Counter.Transfer", schema: stock, data: ten, clients: []work{transfer(1, 2), transfer(2, 1)}},
	{name: "atomic.Set", schema: []string{"CREATE TABLE likes (post INT NOT NULL, person INT NOT NULL, PRIMARY KEY (post, person))"},
		clients: both(func(ctx context.Context, db *sqlx.DB) error {
			likes, err := atomic.NewSet(db.DB, "likes", []string{"post", "person"})
			if err != nil {
				return err
			}
			_, err = likes.Add(ctx, 1, 2)
			return err
		})},
	{name: "optimistic.Table.Modify", schema: stock, data: ten, clients: both(func(ctx context.Context, db *sqlx.DB) error {
		items, err := optimistic.NewTable[item](db.DB, "items")
		if err != nil {
			return err
		}
		_, err = items.Modify(ctx, func(i *item) error { i.Stock--; return nil }, 1)
		return err
	})},
	{name: "pessimistic.WithRowLock", schema: shop, data: one, options: bounded, clients: both(func(ctx context.Context, db *sqlx.DB) error {
		return pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: "items", Key: 1}, func(ctx context.Context, tx *sqlx.Tx, i *item) error {
			if i.Stock < 1 {
				return errSoldOut
			}
			return sell(ctx, tx, "")
		})
	})},
	{name: "pessimistic.WithRowLocks", schema: doctors, data: onCall, options: bounded, clients: []work{leaveLocked(1), leaveLocked(2)}},
	{name: "transaction.Run, Serializable", schema: doctors, data: onCall, clients: []work{leaveRun(1), leaveRun(2)}},
	{name: "idempotency.Do", schema: stock, data: ten, options: bounded, clients: both(func(ctx context.Context, db *sqlx.DB) error {
		payments, err := idempotency.New[int](db.DB, "idempotency_keys")
		if err != nil {
			return err
		}
		left, _, err := payments.Do(ctx, "a", func(ctx context.Context, tx *sqlx.Tx) (int, error) {
			if err := takeOne(ctx, tx, forUpdate(tx)); err != nil {
				return 0, err
			}
			return number(ctx, tx, "SELECT stock FROM items WHERE id = 1")
		})
		if err == nil && left != 9 {
			return errors.New("another result")
		}
		return err
	})},
}

func transfer(from, to int) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		c, err := atomic.NewCounter[int64](db.DB, "items", "stock")
		if err != nil {
			return err
		}
		return c.Transfer(ctx, 1, atomic.Key{from}, atomic.Key{to})
	}
}

type doctor struct {
	ID     int64 `db:"id"`
	OnCall int64 `db:"oncall"`
}

var errLast = errors.New("the last one stays")

func leaveLocked(id int) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		return pessimistic.WithRowLocks(ctx, db.DB, pessimistic.Rows{Table: "doctors", Keys: []any{1, 2}}, func(ctx context.Context, tx *sqlx.Tx, all []*doctor) error {
			if all[0].OnCall+all[1].OnCall < 2 {
				return errLast
			}
			_, err := exec(ctx, tx, "UPDATE doctors SET oncall = 0 WHERE id = ?", id)
			return err
		})
	}
}

func leaveRun(id int) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		return transaction.Run(ctx, db.DB, func(ctx context.Context, tx *sqlx.Tx) error {
			n, err := number(ctx, tx, "SELECT COUNT(*) FROM doctors WHERE oncall = 1")
			if err != nil {
				return err
			}
			if n < 2 {
				return errLast
			}
			_, err = exec(ctx, tx, "UPDATE doctors SET oncall = 0 WHERE id = ?", id)
			return err
		}, transaction.Serializable())
	}
}

// Every schedule of nogap's own calls ends as some order of whole callers does.
func TestHelpers(t *testing.T) {
	matrix.Run(t, targets(), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		keys, err := idempotency.New[int](target.Open(t), "idempotency_keys")
		require.NoError(t, err)
		for _, p := range helpers {
			t.Run(p.name, func(t *testing.T) {
				p.schema = append([]string{keys.Schema(target.Dialect)}, p.schema...)
				result, err := explore.Run(t.Context(), p.config(t, target))
				require.NoError(t, err)
				require.Nil(t, result.Failure, "%+v", result.Failure)
				require.Empty(t, result.Inconclusive())
				require.True(t, result.Complete, "%+v", result)
				t.Logf("%d schedules, %d classes, pruned %v (%s), refused %d, diverged %d, %v", result.Schedules, result.Classes, result.Pruned, result.WhyNot, result.Refused, result.Diverged, result.Elapsed)
			})
		}
	})
}

// To look at tables is no race: clients that write different tables meet in one class, whenever each looks at its own. (SQLite has
// one lock for both.)
func TestFirstLooks(t *testing.T) {
	take := func(table string) work {
		return func(ctx context.Context, db *sqlx.DB) error {
			stock, err := atomic.NewCounter[int64](db.DB, table, "stock")
			if err != nil {
				return err
			}
			_, err = stock.Decrement(ctx, 1, 1)
			return err
		}
	}
	p := program{
		schema:  []string{"CREATE TABLE pens (id INT PRIMARY KEY, stock INT NOT NULL)", "CREATE TABLE inks (id INT PRIMARY KEY, stock INT NOT NULL)"},
		data:    []string{"INSERT INTO pens VALUES (1, 5)", "INSERT INTO inks VALUES (1, 5)"},
		clients: []work{take("pens"), take("inks")},
	}
	matrix.Run(t, targets(), func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return
		}
		t.Parallel()
		result, err := explore.Run(t.Context(), p.config(t, target))
		require.NoError(t, err)
		require.Nil(t, result.Failure, "%+v", result.Failure)
		require.True(t, result.Complete, "%+v", result)
		require.Equal(t, 1, result.Classes)
	})
}
