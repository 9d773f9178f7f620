//go:build unix

// Package idempotency_test is the conformance suite of package idempotency: what it promises, on every database and driver of
// the matrix.
package idempotency_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) {
	// Tests of lost connections wait most of the time, so more of them fit side by side than there are processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "14"); err != nil {
		panic(err)
	}
	servers.Main(m)
}

// receipt is what a payment returns.
type receipt struct {
	ID   string
	Left int64
}

func exec(tb testing.TB, db *sql.DB, format string, args ...any) {
	tb.Helper()
	_, err := db.ExecContext(context.Background(), fmt.Sprintf(format, args...))
	require.NoError(tb, err)
}

func number(tb testing.TB, db *sql.DB, query string) (n int) {
	tb.Helper()
	require.NoError(tb, db.QueryRowContext(context.Background(), query).Scan(&n))
	return n
}

// within returns a context that ends with the test, or when something hangs.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// together calls f in n goroutines, with the number of each, and waits for them. An error of any of them fails the test.
func together(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

// newStore makes the tables idempotency_keys and payments, and returns the Store.
func newStore(tb testing.TB, target matrix.Target, db *sql.DB, opts ...idempotency.Option) *idempotency.Store[receipt] {
	tb.Helper()
	s := storeOf(tb, db, opts...)
	exec(tb, db, "%s", s.Schema(target.Dialect))
	exec(tb, db, "CREATE TABLE payments (id VARCHAR(300) NOT NULL, n INT NOT NULL)")
	return s
}

func storeOf(tb testing.TB, db *sql.DB, opts ...idempotency.Option) *idempotency.Store[receipt] {
	tb.Helper()
	s, err := idempotency.New[receipt](db, "idempotency_keys", opts...)
	require.NoError(tb, err)
	return s
}

// pay is a callback that writes one payment.
func pay(id string, n int) func(context.Context, *sqlx.Tx) (receipt, error) {
	return func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
		_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO payments VALUES (?, ?)"), id, n)
		return receipt{ID: id, Left: int64(n)}, err
	}
}

func payments(tb testing.TB, db *sql.DB) int {
	tb.Helper()
	return number(tb, db, "SELECT count(*) FROM payments")
}

func keys(tb testing.TB, db *sql.DB) int {
	tb.Helper()
	return number(tb, db, "SELECT count(*) FROM idempotency_keys")
}
