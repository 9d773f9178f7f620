//go:build unix

package pessimistic_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// 500 callers want one row and the pool has ten connections, of which they use one: everybody else is served at once.
func TestHotRowLeavesThePoolFree(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 2)
		db.SetMaxOpenConns(10)
		exec(t, db, "UPDATE items SET stock = 500 WHERE id = 1")
		ctx := concurrent.Within(t, time.Minute)
		const callers = 500
		var arrived sync.WaitGroup
		arrived.Add(callers)
		concurrent.Run(t, callers, func(int) error {
			arrived.Done()
			return pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
				arrived.Wait()
				// This callback holds one connection, and the query takes a second one. A third one would be in use only if
				// another caller held it.
				conn, err := db.Conn(ctx)
				if err != nil {
					return err
				}
				defer conn.Close()
				if n := db.Stats().InUse; n != 2 {
					t.Errorf("%d connections in use", n)
				}
				var stock int
				if err := conn.QueryRowContext(ctx, "SELECT stock FROM items WHERE id = 2").Scan(&stock); err != nil {
					return err
				}
				return take(1)(ctx, tx, it)
			})
		})
		require.Zero(t, stockOf(t, db, 1))
		require.Zero(t, db.Stats().WaitCount, "nobody ever waited for a connection")
	})
}
