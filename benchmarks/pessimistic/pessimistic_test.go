//go:build unix

// Package pessimistic_test compares package pessimistic with the same transactions written by hand.
package pessimistic_test

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/pessimistic"
)

func TestMain(m *testing.M) { servers.Main(m) }

type item struct {
	ID    int64 `db:"id"`
	Stock int64 `db:"stock"`
}

const update = "UPDATE items SET stock = $1 WHERE id = $2"

// byHand is the transaction as one would write it: lock and read the row, decide, write it.
func byHand(ctx context.Context, db *sqlx.DB) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var it item
	if err := tx.GetContext(ctx, &it, "SELECT * FROM items WHERE id = $1 FOR UPDATE", 1); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, update, it.Stock-1, it.ID); err != nil {
		return err
	}
	return tx.Commit()
}

func withRowLock(ctx context.Context, db *sqlx.DB) error {
	return pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: "items", Key: 1},
		func(ctx context.Context, tx *sqlx.Tx, it *item) error {
			_, err := tx.ExecContext(ctx, update, it.Stock-1, it.ID)
			return err
		})
}

// each runs a benchmark on a PostgreSQL that keeps what it has committed, as they all do outside of tests, and on one
// that does not wait for its disk: there a transaction takes half the time, and the same overhead weighs twice.
func each(b *testing.B, run func(b *testing.B, db *sqlx.DB)) {
	b.Helper()
	for _, setting := range []string{"fsync=on", "fsync=off"} {
		b.Run(setting, func(b *testing.B) { run(b, open(b, servers.StartPostgres(b, setting).DSN)) })
	}
}

const conns = 50

// open returns a pool of open connections and makes the table items with one row.
func open(b *testing.B, dsn string) *sqlx.DB {
	b.Helper()
	db, err := sqlx.Open("pgx", dsn)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	for _, statement := range []string{
		"CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)",
		"INSERT INTO items VALUES (1, 1000000)",
	} {
		_, err := db.Exec(statement)
		require.NoError(b, err)
	}
	var all []*sql.Conn
	for range conns {
		c, err := db.DB.Conn(b.Context())
		require.NoError(b, err)
		all = append(all, c)
	}
	for _, c := range all {
		require.NoError(b, c.Close())
	}
	return db
}

// One caller: what does WithRowLock cost? The two take turns, so that both see the same machine, and which of them comes
// first is left to chance.
func BenchmarkOneCaller(b *testing.B) {
	each(b, func(b *testing.B, db *sqlx.DB) {
		ctx := b.Context()
		ways := []func(context.Context, *sqlx.DB) error{byHand, withRowLock}
		times := make([][]time.Duration, len(ways))
		for b.Loop() {
			for _, i := range rand.Perm(len(ways)) {
				start := time.Now()
				if err := ways[i](ctx, db); err != nil {
					b.Fatal(err)
				}
				times[i] = append(times[i], time.Since(start))
			}
		}
		hand, lock := summary(times[0]), summary(times[1])
		b.ReportMetric(hand.mean, "ns/by-hand")
		b.ReportMetric(lock.mean, "ns/WithRowLock")
		b.ReportMetric(lock.mean/hand.mean, "time-ratio")
		b.ReportMetric(lock.median/hand.median, "median-ratio")
	})
}

type stats struct{ mean, median float64 }

func summary(times []time.Duration) stats {
	slices.Sort(times)
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	return stats{float64(sum) / float64(len(times)), float64(times[len(times)/2])}
}

// 500 callers want one row through 50 connections, in turns of two transactions each.
func BenchmarkHotRow(b *testing.B) {
	each(b, func(b *testing.B, db *sqlx.DB) {
		ctx := b.Context()
		const callers, turns = 500, 2
		run := func(do func(context.Context, *sqlx.DB) error) time.Duration {
			start := time.Now()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range turns {
						if err := do(ctx, db); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			return time.Since(start)
		}
		var hand, lock time.Duration
		for b.Loop() {
			hand += run(byHand)
			lock += run(withRowLock)
		}
		n := float64(b.N * callers * turns)
		b.ReportMetric(n/hand.Seconds(), "by-hand/s")
		b.ReportMetric(n/lock.Seconds(), "WithRowLock/s")
		b.ReportMetric(hand.Seconds()/lock.Seconds(), "rate-ratio")
	})
}
