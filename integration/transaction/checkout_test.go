//go:build unix

package transaction_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/transaction"
)

// shop sells items to buyers: a checkout is a cart, a wallet and an order.
type shop struct {
	db     *sql.DB
	stock  *atomic.Counter[int64]
	wallet *atomic.Counter[int64]
	orders *atomic.State[string]
}

const (
	items     = 6
	wallets   = 4
	checkouts = 200
)

func newShop(tb testing.TB, db *sql.DB) *shop {
	tb.Helper()
	exec(tb, db, "CREATE TABLE items (id INT PRIMARY KEY, stock BIGINT NOT NULL)")
	exec(tb, db, "CREATE TABLE wallets (id INT PRIMARY KEY, balance BIGINT NOT NULL)")
	exec(tb, db, "CREATE TABLE orders (id INT PRIMARY KEY, status VARCHAR(20) NOT NULL)")
	for i := range items {
		exec(tb, db, "INSERT INTO items VALUES (%d, 1000)", i)
	}
	for i := range wallets {
		exec(tb, db, "INSERT INTO wallets VALUES (%d, 1000)", i)
	}
	for i := range checkouts {
		exec(tb, db, "INSERT INTO orders VALUES (%d, 'pending')", i)
	}
	s := &shop{db: db}
	var err error
	s.stock, err = atomic.NewCounter[int64](db, "items", "stock")
	require.NoError(tb, err)
	s.wallet, err = atomic.NewCounter[int64](db, "wallets", "balance")
	require.NoError(tb, err)
	s.orders, err = atomic.NewState[string](db, "orders", "status")
	require.NoError(tb, err)
	return s
}

// checkout sells one of each of two items, in a random order of its statements, so that many of them deadlock.
func (s *shop) checkout(ctx context.Context, order int) error {
	a, b, buyer := rand.IntN(items), rand.IntN(items-1), order%wallets
	if b >= a {
		b++
	}
	steps := []func(context.Context, *sqlx.Tx) error{
		func(ctx context.Context, tx *sqlx.Tx) error {
			return s.stock.WithTx(tx).DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{a}, N: 1}, {Key: atomic.Key{b}, N: 1}})
		},
		func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := s.wallet.WithTx(tx).Decrement(ctx, 2, buyer)
			return err
		},
		func(ctx context.Context, tx *sqlx.Tx) error {
			return s.orders.WithTx(tx).Transition(ctx, "pending", "paid", order)
		},
	}
	rand.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	return transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		for _, step := range steps {
			if err := step(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// sellAll makes all checkouts from 40 goroutines. Each of them ends, once.
func (s *shop) sellAll(t *testing.T) {
	t.Helper()
	const goroutines = 40
	ctx := concurrent.Within(t, 5*time.Minute)
	concurrent.Run(t, goroutines, func(i int) error {
		for order := i; order < checkouts; order += goroutines {
			if err := s.checkout(ctx, order); err != nil {
				return fmt.Errorf("order %d: %w", order, err)
			}
		}
		return nil
	})
	require.Equal(t, checkouts, number(t, s.db, "SELECT count(*) FROM orders WHERE status = 'paid'"))
	require.Equal(t, items*1000-2*checkouts, number(t, s.db, "SELECT CAST(sum(stock) AS DECIMAL) FROM items"))
	require.Equal(t, wallets*1000-2*checkouts, number(t, s.db, "SELECT CAST(sum(balance) AS DECIMAL) FROM wallets"))
}

func TestCheckoutInAnyOrder(t *testing.T) {
	t.Parallel()
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		newShop(t, target.Open(t)).sellAll(t)
	})
}

// With the default deadlock_timeout every deadlock costs a second, and a loser that meets another one costs a second more.
func TestCheckoutWithDefaultDeadlockTimeout(t *testing.T) {
	t.Parallel()
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		admin := target.Connect(t, dsn)
		exec(t, admin, "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET deadlock_timeout = ''1s'''; END $$")
		db := target.Connect(t, dsn)
		require.Equal(t, 1, number(t, db, "SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)::int"))
		start := time.Now()
		newShop(t, db).sellAll(t)
		t.Logf("%d checkouts took %v", checkouts, time.Since(start).Round(time.Millisecond))
	})
}

// What one statement of a checkout refuses undoes the others.
func TestRefusalUndoesAll(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		s := newShop(t, target.Open(t))
		err := transaction.Run(concurrent.Within(t, time.Minute), s.db, func(ctx context.Context, tx *sqlx.Tx) error {
			if _, err := s.stock.WithTx(tx).Decrement(ctx, 5, 0); err != nil {
				return err
			}
			if err := s.orders.WithTx(tx).Transition(ctx, "pending", "paid", 0); err != nil {
				return err
			}
			_, err := s.wallet.WithTx(tx).Decrement(ctx, 1001, 0)
			return err
		})
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 1000, number(t, s.db, "SELECT stock FROM items WHERE id = 0"))
		require.Equal(t, 1000, number(t, s.db, "SELECT balance FROM wallets WHERE id = 0"))
		require.Equal(t, 0, number(t, s.db, "SELECT count(*) FROM orders WHERE status = 'paid'"))
	})
}
