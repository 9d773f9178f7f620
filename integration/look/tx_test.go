//go:build unix

package look_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// The first look in a transaction changes nothing of how its first write waits.
func TestFirstLookWaitsAsAWriteDoes(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := fresh(t, target)
		other, db := target.Connect(t, dsn), target.Connect(t, dsn)
		holder, err := other.Begin()
		require.NoError(t, err)
		_, err = holder.Exec("UPDATE items SET stock = stock - 1 WHERE id = 1")
		require.NoError(t, err)
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		stock, err := atomic.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := stock.WithTx(tx).Decrement(t.Context(), 1, 1)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		require.NoError(t, holder.Commit())
		require.NoError(t, <-done)
		require.NoError(t, tx.Commit())
		require.Equal(t, [3]any{int64(8), "new", int64(0)}, held(t, other, "items", 1))
	})
}

// What the transaction reads after its first write is as new as the write, although the look came before.
func TestFirstLookTakesNoSnapshot(t *testing.T) {
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		dsn := fresh(t, target)
		other, db := target.Connect(t, dsn), target.Connect(t, dsn)
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		stock, err := atomic.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		_, err = stock.WithTx(tx).Decrement(t.Context(), 1, 1) // looks, and takes no snapshot by itself
		require.NoError(t, err)
		exec(t, other, "UPDATE items SET stock = 3 WHERE id = 2")
		var seen int
		require.NoError(t, tx.QueryRow("SELECT stock FROM items WHERE id = 2").Scan(&seen))
		require.Equal(t, 3, seen)
	})
}

// In a transaction the look finds what it finds on the pool.
func TestFirstLookInATransaction(t *testing.T) {
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		exec(t, target.Connect(t, dsn), "CREATE TABLE items "+columns+" ENGINE=MyISAM", "INSERT INTO items VALUES "+rows,
			"CREATE VIEW shown AS SELECT * FROM items", "CREATE VIEW outermost AS SELECT s.* FROM (shown AS s JOIN shown AS t ON s.id = t.id)",
			"CREATE TABLE stamps (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version DATETIME(6) NOT NULL)",
			"CREATE TABLE seconds (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version DATETIME NOT NULL)",
			"CREATE VIEW stamps_shown AS SELECT * FROM stamps",
			"INSERT INTO stamps VALUES (1, 10, '2026-01-02 03:04:05')", "INSERT INTO seconds VALUES (1, 10, '2026-01-02 03:04:05')")
		for _, c := range []struct{ setting, relation, want string }{
			{"", "items", "items: its engine MyISAM has no transactions"},
			{"sql_mode=%27ANSI_QUOTES%27", "shown", "shown: the view's table "},
			{"", "outermost", "has the engine MyISAM"},
			{"", "seconds", `seconds: the version column "version" is datetime`},
			{"timeTruncate=1s", "stamps", "the driver writes times without microseconds"},
			{"timeTruncate=1s", "stamps_shown", "the driver writes times without microseconds"},
			{"", "stamps", ""},
			{"sql_quote_show_create=0", "stamps", ""},
			{"", "stamps_shown", ""},
			{"", "nothing", "no such table or column is listed"},
		} {
			db := target.Connect(t, with(dsn, "autocommit=1&"+c.setting))
			tx, err := db.Begin()
			require.NoError(t, err)
			items, err := optimistic.NewTable[stamped](db, c.relation)
			require.NoError(t, err)
			_, err = items.WithTx(tx).Get(t.Context(), 1)
			if c.want == "" {
				require.NoError(t, err, c)
			} else {
				require.ErrorContains(t, err, c.want)
			}
			_, err = tx.Exec("UPDATE stamps SET stock = stock") // the transaction is as good as before
			require.NoError(t, err)
			require.NoError(t, tx.Rollback())
		}
	})
}
