//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/spelling"
	"github.com/nogap-go/nogap/pessimistic"
)

// Transactions of the caller's lock pairs in any order, from two pools: none of them deadlocks, and no money is made or lost.
func TestLockRowsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	matrix.Run(t, onePerServer(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		const n, workers, turns = 6, 12, 60
		createItems(t, pools[0], n)
		before := deadlocks(t, target, pools[0])
		ctx := concurrent.Within(t, time.Minute)
		concurrent.Run(t, workers, func(w int) error {
			for range turns / workers {
				tx, err := pools[w%2].BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				pair := pessimistic.Rows{Table: "items", Keys: []any{rand.IntN(n) + 1, rand.IntN(n) + 1}}
				if err := move(ctx, tx, pair); err != nil {
					tx.Rollback()
					return err
				}
				if err := tx.Commit(); err != nil {
					return err
				}
			}
			return nil
		})
		var sum int64
		require.NoError(t, pools[0].QueryRow("SELECT sum(stock) FROM items").Scan(&sum))
		require.EqualValues(t, n*100, sum)
		require.Equal(t, before, deadlocks(t, target, pools[0]))
	})
}

// move moves a piece from the first row of a pair to the second.
func move(ctx context.Context, tx *sql.Tx, pair pessimistic.Rows) error {
	items, err := pessimistic.LockRows[Item](ctx, tx, pair)
	if err != nil {
		return err
	}
	items[0].Stock--
	items[1].Stock++
	for _, it := range items {
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE items SET stock = %d WHERE id = %d", it.Stock, it.ID)); err != nil {
			return err
		}
	}
	return nil
}

// A row under two keys is one pointer.
func TestLockRowsInTwoSpellings(t *testing.T) {
	eachSpelling(t, func(t *testing.T, target matrix.Target, s spelling.Spelling) {
		db := spelt(t, target, s)
		tx, err := db.Beginx()
		require.NoError(t, err)
		defer tx.Rollback()
		rows := pessimistic.Rows{Table: "spelt", Keys: []any{s.Other, s.Distinct, s.Stored}}
		items, err := pessimistic.LockRows[speltItem](concurrent.Within(t, time.Minute), tx, rows)
		require.NoError(t, err)
		require.Same(t, items[0], items[2])
		require.NotSame(t, items[0], items[1])
	})
}
