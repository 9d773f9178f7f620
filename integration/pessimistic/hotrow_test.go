//go:build unix

package pessimistic_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/faultproxy"
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
		// The first call asks what the server is. Those that wait too long for the answer ask on connections of their own.
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(2), take(0)))
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

// While a COMMIT is under way, the next call waits for the row in the server already. Its callback sees what was committed, and
// nobody else is let in.
func TestCommitLetsTheNextIn(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		direct := target.Connect(t, dsn)
		createItems(t, direct, 1)
		proxy, through := target.Proxy(t, dsn)
		db := target.Connect(t, through)
		require.NoError(t, pessimistic.WithRowLock(t.Context(), db, item(1), take(0)))
		ctx := concurrent.Within(t, time.Minute)
		held := proxy.HoldRequest(faultproxy.Executes("COMMIT"))
		const callers = 5
		var arrived sync.WaitGroup
		arrived.Add(callers)
		done := make(chan bool)
		go func() {
			defer close(done)
			concurrent.Run(t, callers, func(int) error {
				arrived.Done()
				return pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
					arrived.Wait()
					return take(1)(ctx, tx, it)
				})
			})
		}()
		held.Await(t)
		target.AwaitBlocked(t, direct)
		require.Equal(t, 2, db.Stats().InUse)
		proxy.Pass()
		<-done
		require.EqualValues(t, 100-callers, stockOf(t, direct, 1))
	})
}

// Where a wait in the server would fail that one in the process would not, the calls wait in the process again: under a limit for
// lock waits that is shorter than a COMMIT, and in a default isolation in which a row must not change while somebody waits for it.
func TestCommitThatTakesLong(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		for _, setting := range []string{"lock_timeout = '20ms'", "default_transaction_isolation = 'repeatable read'"} {
			t.Run(setting, func(t *testing.T) {
				dsn := target.DSN(t)
				admin := target.Connect(t, dsn)
				createItems(t, admin, 1)
				exec(t, admin, "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END'")
				exec(t, admin, "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "+
					"EXECUTE FUNCTION slow()")
				var name string
				require.NoError(t, admin.QueryRow("SELECT current_database()").Scan(&name))
				exec(t, admin, "ALTER DATABASE "+name+" SET "+setting)
				t.Cleanup(func() { exec(t, admin, "ALTER DATABASE "+name+" RESET ALL") })
				db := target.Connect(t, dsn)
				ctx := concurrent.Within(t, time.Minute)
				const callers = 10
				var arrived sync.WaitGroup
				var again atomic.Int64
				arrived.Add(callers)
				concurrent.Run(t, callers, func(int) error {
					arrived.Done()
					return pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
						arrived.Wait()
						return take(1)(ctx, tx, it)
					}, pessimistic.Backoff(func(int) time.Duration { again.Add(1); return 0 }))
				})
				require.EqualValues(t, 100-callers, stockOf(t, admin, 1))
				require.EqualValues(t, 1, again.Load(), "calls that were run again, until it was known")
			})
		}
	})
}

// A COMMIT that fails costs the next call nothing: what it was let in for is not there. The call itself is run again behind
// those who wait.
func TestCommitFailsAfterLettingIn(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		admin := target.Connect(t, dsn)
		createItems(t, admin, 1)
		exec(t, admin, "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); "+
			"RAISE EXCEPTION ''lost'' USING ERRCODE = ''40001''; END'")
		exec(t, admin, "CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "+
			"WHEN (NEW.note = 'fail') EXECUTE FUNCTION fail()")
		db := target.Connect(t, dsn)
		ctx := concurrent.Within(t, time.Minute)
		const callers = 10
		var arrived sync.WaitGroup
		var calls atomic.Int64
		arrived.Add(callers)
		concurrent.Run(t, callers, func(int) error {
			arrived.Done()
			first := true
			return pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
				arrived.Wait()
				calls.Add(1)
				note := "read"
				if first {
					note = "fail"
				}
				first = false
				_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = ?, note = ? WHERE id = 1"), it.Stock-1, note)
				return err
			})
		})
		require.EqualValues(t, 100-callers, stockOf(t, admin, 1))
		require.EqualValues(t, 2*callers, calls.Load())
	})
}
