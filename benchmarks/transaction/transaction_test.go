//go:build unix

// Package transaction_test compares transaction.Run with the same transactions written by hand, side by side in one run:
//
//	go test -C benchmarks -run '^$' -bench . ./transaction
package transaction_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/pair"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/transaction"
)

func TestMain(m *testing.M) { servers.Main(m) }

const items = 10

var schema = []string{
	"CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)",
	"INSERT INTO items SELECT n, 1000000 FROM generate_series(0, 9) n",
}

// take takes one of each of two items.
func take(ctx context.Context, tx *sqlx.Tx, a, b int) error {
	for _, id := range []int{a, b} {
		if _, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = $1", id); err != nil {
			return err
		}
	}
	return nil
}

// byHand is the transaction as one would write it: it is run again after a deadlock, after a random and growing wait.
func byHand(ctx context.Context, db *sqlx.DB, a, b int) error {
	for limit := 2 * time.Millisecond; ; limit = min(2*limit, 250*time.Millisecond) {
		err := once(ctx, db, a, b)
		if !nogap.Retryable(err) {
			return err
		}
		time.Sleep(rand.N(limit))
	}
}

func once(ctx context.Context, db *sqlx.DB, a, b int) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := take(ctx, tx, a, b); err != nil {
		return err
	}
	return tx.Commit()
}

func run(ctx context.Context, db *sqlx.DB, a, b int) error {
	return transaction.Run(ctx, db.DB, func(ctx context.Context, tx *sqlx.Tx) error { return take(ctx, tx, a, b) })
}

// of returns the pair of ways to take the two items that choose returns.
func of(choose func() (a, b int)) pair.Pair {
	with := func(way func(context.Context, *sqlx.DB, int, int) error) func(context.Context, *sqlx.DB) error {
		return func(ctx context.Context, db *sqlx.DB) error {
			a, b := choose()
			return way(ctx, db, a, b)
		}
	}
	return pair.Pair{ByHand: with(byHand), Nogap: with(run), Name: "Run"}
}

// One caller: what does Run cost?
func BenchmarkOneCaller(b *testing.B) {
	pair.Each(b, schema, of(func() (int, int) { return 0, 1 }).OneCaller)
}

// 50 callers change rows in one order, so that they wait for one another and never deadlock.
func BenchmarkOrdered(b *testing.B) {
	ordered := of(func() (int, int) {
		a, b := two()
		return min(a, b), max(a, b)
	})
	pair.Each(b, schema, func(b *testing.B, db *sqlx.DB) { ordered.Crowd(b, db, 50) })
}

// 50 callers change rows in any order, so that many of them deadlock.
func BenchmarkDeadlocks(b *testing.B) {
	pair.Each(b, schema, func(b *testing.B, db *sqlx.DB) { of(two).Crowd(b, db, 50) })
}

// two returns two different items.
func two() (a, b int) {
	a, b = rand.IntN(items), rand.IntN(items-1)
	if b >= a {
		b++
	}
	return a, b
}
