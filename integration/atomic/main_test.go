//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func exec(tb testing.TB, db *sql.DB, query string, args ...any) {
	tb.Helper()
	_, err := db.ExecContext(context.Background(), query, args...)
	require.NoError(tb, err, query)
}

func value[T any](tb testing.TB, db *sql.DB, query string, args ...any) (v T) {
	tb.Helper()
	require.NoError(tb, db.QueryRowContext(context.Background(), query, args...).Scan(&v), query)
	return v
}

// items makes the table items with a stock of 5 of sku-1, 0 of sku-0 and NULL of sku-null.
func items(tb testing.TB, target matrix.Target, columnType string) *sql.DB {
	tb.Helper()
	db := target.Open(tb)
	createItems(tb, db, columnType)
	return db
}

func createItems(tb testing.TB, db *sql.DB, columnType string) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock "+columnType+", name VARCHAR(40) DEFAULT 'x')")
	exec(tb, db, "INSERT INTO items (id, stock) VALUES ('sku-1', 5), ('sku-0', 0), ('sku-null', NULL)")
}

// itemsBehindProxy makes the table items too. The pool bad reaches it through the proxy, and some drivers report what
// was broken when it is closed, so nobody asks how.
func itemsBehindProxy(tb testing.TB, target matrix.Target) (db, bad *sql.DB, proxy *faultproxy.Proxy) {
	tb.Helper()
	dsn := target.DSN(tb)
	db = target.Connect(tb, dsn)
	createItems(tb, db, "BIGINT")
	proxy, through := target.Proxy(tb, dsn)
	bad, err := sql.Open(target.Driver, through)
	require.NoError(tb, err)
	tb.Cleanup(func() { bad.Close() })
	return db, bad, proxy
}

// setStock sets the stock of sku-1, to a number or the text of one.
func setStock(tb testing.TB, db *sql.DB, stock any) {
	tb.Helper()
	exec(tb, db, fmt.Sprintf("UPDATE items SET stock = %v WHERE id = 'sku-1'", stock))
}

// stockOf returns the stock of an item.
func stockOf[T any](tb testing.TB, db *sql.DB, id string) T {
	tb.Helper()
	return value[T](tb, db, "SELECT stock FROM items WHERE id = '"+id+"'")
}

// newStock returns the Counter of the stock.
func newStock[N any](tb testing.TB, db *sql.DB, opts ...atomic.Option) *atomic.Counter[N] {
	tb.Helper()
	stock, err := atomic.NewCounter[N](db, "items", "stock", opts...)
	require.NoError(tb, err)
	return stock
}

// mysqlLike reports whether the target is MySQL or MariaDB.
func mysqlLike(target matrix.Target) bool {
	return target.Dialect == nogap.MySQL || target.Dialect == nogap.MariaDB
}

// refusesStale reports whether the transaction is one of REPEATABLE READ that won't look at rows which have changed since
// its snapshot: the default of MariaDB from 11.6.2 on. What it says then, error 1020, is for the owner of the transaction
// to run all of it again.
func refusesStale(tb testing.TB, tx *sql.Tx) bool {
	tb.Helper()
	var on bool
	err := tx.QueryRow("SELECT @@innodb_snapshot_isolation").Scan(&on)
	return err == nil && on // other servers don't know the variable
}

// together calls f in n goroutines at once, with the number of each, and waits for them.
func together(n int, f func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
