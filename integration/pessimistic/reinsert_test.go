//go:build unix

package pessimistic_test

import (
	"context"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// A row that is deleted and inserted again by one transaction is there at every moment, also for who waited for it.
func TestReinsertedRow(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		for _, statement := range []string{"DELETE FROM items WHERE id = 1", "INSERT INTO items VALUES (1, 7, 'new')"} {
			_, err := tx.Exec(statement)
			require.NoError(t, err)
		}
		var stock int64
		done := make(chan error, 1)
		go func() {
			done <- pessimistic.WithRowLock(concurrent.Within(t, time.Minute), db, item(1), func(_ context.Context, _ *sqlx.Tx, it *Item) error {
				stock = it.Stock
				return nil
			})
		}()
		target.AwaitBlocked(t, db)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-done)
		require.Equal(t, int64(7), stock)
	})
}
