//go:build unix

package optimistic_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// broken makes the table on a server that is reached through a proxy, and returns a pool that goes around it too.
func broken(t *testing.T, target matrix.Target, versionColumn string) (proxy *faultproxy.Proxy, direct, db *sql.DB) {
	dsn := target.DSN(t)
	direct = target.Connect(t, dsn)
	create(t, direct, versionColumn)
	proxy, through := target.Proxy(t, dsn)
	return proxy, direct, target.Connect(t, through)
}

// spare leaves a second idle connection in the pool. Whether a write stands is asked within a second after its answer was lost,
// and to connect may take longer than that.
func spare(t *testing.T, db *sql.DB) {
	t.Helper()
	one, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer one.Close()
	two, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer two.Close()
}

const stockNow = "SELECT stock FROM items"

// TestLostReplyOfToken: the server has applied the swap and the answer is lost. The token tells.
func TestLostReplyOfToken(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, db := broken(t, target, ", version CHAR(36) NOT NULL DEFAULT ''")
		items, err := optimistic.NewTable[textRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.LockAfter(1))
		require.NoError(t, err)
		row, err := items.Get(t.Context(), "north", 1)
		require.NoError(t, err)

		row.Stock = 9
		spare(t, db)
		lost := proxy.LoseReply(faultproxy.Executes("UPDATE"))
		require.NoError(t, items.Update(t.Context(), row))
		lost.Await(t)
		require.EqualValues(t, 9, value[int64](t, direct, stockNow))
		require.Equal(t, value[string](t, direct, "SELECT version FROM items"), row.Token)

		calls := 0
		spare(t, db)
		lost = proxy.LoseReply(faultproxy.Executes("UPDATE"))
		_, err = items.Modify(t.Context(), func(r *textRow) error { calls++; r.Stock--; return nil }, "north", 1)
		require.NoError(t, err)
		lost.Await(t)
		require.EqualValues(t, 8, value[int64](t, direct, stockNow))
		require.Equal(t, 1, calls)

		// The same with the row lock, where it is COMMIT whose answer is lost.
		calls = 0
		spare(t, db)
		var commit *faultproxy.Fault
		row, err = items.Modify(t.Context(), func(r *textRow) error {
			if calls++; calls == 1 {
				exec(t, direct, "UPDATE items SET version = 'rival'")
			} else {
				commit = proxy.LoseReply(faultproxy.Executes("COMMIT"))
			}
			r.Stock--
			return nil
		}, "north", 1)
		require.NoError(t, err)
		commit.Await(t)
		require.Equal(t, 2, calls)
		require.EqualValues(t, 7, value[int64](t, direct, stockNow))
		require.NoError(t, items.Update(t.Context(), row), "the version is the one in the database")
	})
}

// TestLostRequestOfToken: the server has not got the swap. That cannot be told from one that is still on its way.
func TestLostRequestOfToken(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, db := broken(t, target, ", version CHAR(36) NOT NULL DEFAULT ''")
		items, err := optimistic.NewTable[textRow](db, "items", optimistic.WithKey("shop", "sku"))
		require.NoError(t, err)
		row, err := items.Get(t.Context(), "north", 1)
		require.NoError(t, err)
		before := *row
		lost := proxy.LoseRequest(faultproxy.Executes("UPDATE"))
		err = items.Update(t.Context(), row)
		lost.Await(t)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, before, *row)
		require.EqualValues(t, 10, value[int64](t, direct, stockNow))
	})
}

// TestLostReplyOfCounter: another one may have written the same number, so it tells nothing, and nothing is sent twice.
func TestLostReplyOfCounter(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, db := broken(t, target, ", version BIGINT NOT NULL DEFAULT 0")
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"))
		require.NoError(t, err)
		for name, call := range map[string]func(*counterRow) error{
			"UPDATE": func(r *counterRow) error { r.Stock--; return items.Update(t.Context(), r) },
			"update": func(*counterRow) error {
				_, err := items.Modify(t.Context(), func(r *counterRow) error { r.Stock--; return nil }, "north", 1)
				return err
			},
			"DELETE": func(r *counterRow) error { return items.Delete(t.Context(), r) },
		} {
			t.Run(name, func(t *testing.T) {
				exec(t, direct, "DELETE FROM items")
				exec(t, direct, "INSERT INTO items (shop, sku, stock) VALUES ('north', 1, 10)")
				row, err := items.Get(t.Context(), "north", 1)
				require.NoError(t, err)
				lost := proxy.LoseReply(faultproxy.Executes(name))
				err = call(row)
				lost.Await(t)
				require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
				require.EqualValues(t, 0, row.Version)
				if name == "DELETE" {
					require.Zero(t, value[int64](t, direct, "SELECT count(*) FROM items"))
				} else {
					require.EqualValues(t, 9, value[int64](t, direct, stockNow))
				}
			})
		}
	})
}

// TestCancelledSwap: a context that ends while the answer is under way. A token still tells.
func TestCancelledSwap(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, db := broken(t, target, ", version CHAR(36) NOT NULL DEFAULT ''")
		items, err := optimistic.NewTable[textRow](db, "items", optimistic.WithKey("shop", "sku"))
		require.NoError(t, err)
		row, err := items.Get(t.Context(), "north", 1)
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		spare(t, db)
		held := proxy.HoldReply(faultproxy.Executes("UPDATE"))
		go func() {
			<-held.Done()
			cancel()
			if target.Driver == "postgres" { // lib/pq waits for the answer to what it has asked the server to cancel
				proxy.Pass()
			}
		}()
		row.Stock = 9
		err = items.Update(ctx, row)
		held.Await(t)
		proxy.Pass()
		require.NoError(t, err)
		require.EqualValues(t, 9, value[int64](t, direct, stockNow))

		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, items.Update(ctx, row), context.Canceled)
	})
}

// TestLostInsert: the answer to an INSERT is lost. A token that is read back tells; nothing else does, and nothing is sent
// twice.
func TestLostInsert(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, db := broken(t, target, ", version CHAR(36) NOT NULL DEFAULT ''")
		items, err := optimistic.NewTable[textRow](db, "items", optimistic.WithKey("shop", "sku"))
		require.NoError(t, err)
		row := &textRow{Item: Item{Shop: "south", SKU: 1}}
		require.NoError(t, items.Insert(t.Context(), row))

		spare(t, db)
		lost := proxy.LoseReply(faultproxy.Executes("INSERT INTO"))
		row = &textRow{Item: Item{Shop: "south", SKU: 2}}
		require.NoError(t, items.Insert(t.Context(), row))
		lost.Await(t)
		require.Equal(t, value[string](t, direct, "SELECT version FROM items WHERE sku = 2"), row.Token)

		lost = proxy.LoseRequest(faultproxy.Executes("INSERT INTO"))
		row = &textRow{Item: Item{Shop: "south", SKU: 3}}
		err = items.Insert(t.Context(), row)
		lost.Await(t)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, &textRow{Item: Item{Shop: "south", SKU: 3}}, row)
		require.Zero(t, value[int](t, direct, "SELECT count(*) FROM items WHERE sku = 3"))

		exec(t, direct, "CREATE TABLE counters (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)")
		type counter struct {
			ID      int64 `db:"id"`
			Version int64 `db:"version"`
		}
		counters, err := optimistic.NewTable[counter](db, "counters")
		require.NoError(t, err)
		require.NoError(t, counters.Insert(t.Context(), &counter{ID: 1}))
		lost = proxy.LoseReply(faultproxy.Executes("INSERT INTO"))
		err = counters.Insert(t.Context(), &counter{ID: 2})
		lost.Await(t)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, optimistic.ErrDuplicate)
	})
}
