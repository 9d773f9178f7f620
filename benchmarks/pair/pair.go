//go:build unix

// Package pair compares a call of nogap with the same written by hand, in one run, so that both see the same machine.
package pair

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
)

// Pair are two ways of doing one thing.
type Pair struct {
	ByHand, Nogap func(ctx context.Context, db *sqlx.DB) error
	Name          string // of the call of nogap
}

const conns = 50

// Each runs a benchmark on a PostgreSQL that keeps what it has committed, as they all do outside of tests, and on one
// that does not wait for its disk: there a transaction takes half the time, and the same overhead weighs twice. schema are
// statements that it begins with.
func Each(b *testing.B, schema []string, run func(b *testing.B, db *sqlx.DB)) {
	b.Helper()
	EachServer(b, schema, func(b *testing.B, dsn string) { run(b, Open(b, dsn)) })
}

// EachServer is Each for benchmarks that need several pools.
func EachServer(b *testing.B, schema []string, run func(b *testing.B, dsn string)) {
	b.Helper()
	for _, setting := range []string{"fsync=on", "fsync=off"} {
		b.Run(setting, func(b *testing.B) {
			dsn := servers.StartPostgres(b, setting).DSN
			db := Open(b, dsn)
			for _, statement := range schema {
				_, err := db.Exec(statement)
				require.NoError(b, err)
			}
			run(b, dsn)
		})
	}
}

// Open returns a pool of open connections.
func Open(b *testing.B, dsn string) *sqlx.DB {
	b.Helper()
	db, err := sqlx.Open("pgx", dsn)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
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

// OneCaller measures what the call of nogap costs. The two take turns, and which of them comes first is left to chance.
func (p Pair) OneCaller(b *testing.B, db *sqlx.DB) {
	b.Helper()
	ctx := b.Context()
	ways := []func(context.Context, *sqlx.DB) error{p.ByHand, p.Nogap}
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
	hand, call := summary(times[0]), summary(times[1])
	b.ReportMetric(hand.mean, "ns/by-hand")
	b.ReportMetric(call.mean, "ns/"+p.Name)
	b.ReportMetric(call.mean/hand.mean, "time-ratio")
	b.ReportMetric(call.median/hand.median, "median-ratio")
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

// Crowd lets callers do it at the same time, through 50 connections, in turns of two for each caller. Which of the
// ways comes first is left to chance.
func (p Pair) Crowd(b *testing.B, db *sqlx.DB, callers int) {
	b.Helper()
	const turns = 2
	run := func(do func(context.Context, *sqlx.DB) error) time.Duration {
		start := time.Now()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range turns {
					if err := do(b.Context(), db); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	ways := []func(context.Context, *sqlx.DB) error{p.ByHand, p.Nogap}
	took := make([]time.Duration, len(ways))
	for b.Loop() {
		for _, i := range rand.Perm(len(ways)) {
			took[i] += run(ways[i])
		}
	}
	hand, call := took[0], took[1]
	n := float64(b.N * callers * turns)
	b.ReportMetric(n/hand.Seconds(), "by-hand/s")
	b.ReportMetric(n/call.Seconds(), p.Name+"/s")
	b.ReportMetric(hand.Seconds()/call.Seconds(), "rate-ratio")
}
