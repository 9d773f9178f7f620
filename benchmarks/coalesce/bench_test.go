//go:build unix

// Package coalesce_test measures atomic.Coalesce against the plain Counter on one hot row, side by side in one run:
//
//	go test -C benchmarks -run '^$' -bench . -benchtime 5x ./coalesce
//
// An iteration gives each of the two a slice of time. The metrics are their changes per second, the latency that 99 of
// 100 calls stay below, and the ratios: of the rates, how many times the Counter's the Coalescer's is; of the latencies,
// what part of the Counter's. For one caller they take turns call by call, and the ratio is that of the median latencies.
package coalesce_test

import (
	"context"
	"database/sql"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

const (
	slice       = time.Second
	connections = 50
	stock       = int64(1) << 60
)

// takeFunc takes one from the row.
type takeFunc func(ctx context.Context, key ...any) (int64, error)

// targets are each server with the first of its drivers.
func targets() []matrix.Target {
	return []matrix.Target{matrix.Postgres()[0], matrix.MariaDB()[0], matrix.SQLite()[0]}
}

func BenchmarkHotRow(b *testing.B) {
	for _, target := range targets() {
		b.Run(target.Name, func(b *testing.B) {
			dsn := durable(b, target)
			for _, callers := range []int{500, 16} {
				b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) { many(b, target, dsn, callers) })
			}
			b.Run("1 caller", func(b *testing.B) { one(b, target, dsn) })
		})
	}
}

// durable returns the DSN of a database that keeps what it commits, as one in production does: the time of a commit is
// what the callers of a hot row wait for. A server that the environment names is used as it is.
func durable(b *testing.B, target matrix.Target) (dsn string) {
	if target.Dialect == nogap.Postgres && os.Getenv("NOGAP_POSTGRES_DSN") == "" {
		return servers.StartPostgres(b, "fsync=on", "full_page_writes=on").DSN
	}
	dsn = target.DSN(b)
	if target.Dialect == nogap.MariaDB && os.Getenv("NOGAP_MARIADB_DSN") == "" {
		_, err := target.Connect(b, dsn).Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
		require.NoError(b, err)
	}
	return strings.Replace(dsn, "synchronous(NORMAL)", "synchronous(FULL)", 1) // SQLite
}

func many(b *testing.B, target matrix.Target, dsn string, callers int) {
	db, counter, coalescer := open(b, target, dsn)
	for _, take := range []takeFunc{counter, coalescer} {
		run(b, take, callers, slice/4) // to warm up
	}
	require.NoError(b, reset(db))
	var plain, coalesced []time.Duration
	for b.Loop() {
		plain = append(plain, run(b, counter, callers, slice)...)
		coalesced = append(coalesced, run(b, coalescer, callers, slice)...)
	}
	var left int64
	require.NoError(b, db.QueryRow("SELECT stock FROM items").Scan(&left))
	require.EqualValues(b, len(plain)+len(coalesced), stock-left, "every answered call took one")
	report(b, plain, coalesced)
}

// report prints the rates and the latencies of both, and what they are to each other.
func report(b *testing.B, plain, coalesced []time.Duration) {
	seconds := float64(b.N) * slice.Seconds()
	b.ReportMetric(float64(len(plain))/seconds, "counter/s")
	b.ReportMetric(float64(len(coalesced))/seconds, "coalesced/s")
	b.ReportMetric(float64(len(coalesced))/float64(len(plain)), "rate-ratio")
	slow, fast := p99(plain), p99(coalesced)
	b.ReportMetric(slow.Seconds()*1e3, "counter-p99-ms")
	b.ReportMetric(fast.Seconds()*1e3, "coalesced-p99-ms")
	b.ReportMetric(fast.Seconds()/slow.Seconds(), "p99-ratio")
	b.ReportMetric(0, "ns/op") // which says nothing here
}

// one alternates between the two, and in who goes first, so that what else the machine does meets both alike.
func one(b *testing.B, target matrix.Target, dsn string) {
	_, counter, coalescer := open(b, target, dsn)
	latencies := [2][]time.Duration{}
	for b.Loop() {
		turn := 0
		for end := time.Now().Add(2 * slice); time.Now().Before(end); turn++ {
			for _, i := range []int{turn % 2, 1 - turn%2} {
				begin := time.Now()
				_, err := []takeFunc{counter, coalescer}[i](context.Background(), "hot")
				latencies[i] = append(latencies[i], time.Since(begin))
				require.NoError(b, err)
			}
		}
	}
	plain, coalesced := quantile(latencies[0], 0.5), quantile(latencies[1], 0.5)
	b.ReportMetric(float64(plain.Nanoseconds())/1e3, "counter-µs")
	b.ReportMetric(float64(coalesced.Nanoseconds())/1e3, "coalesced-µs")
	b.ReportMetric(coalesced.Seconds()/plain.Seconds(), "latency-ratio")
	b.ReportMetric(0, "ns/op")
}

// open makes the row, and returns the two ways to take one from it.
func open(b *testing.B, target matrix.Target, dsn string) (db *sql.DB, counter, coalescer takeFunc) {
	db = openRow(b, target, dsn)
	c, err := atomic.NewCounter[int64](db, "items", "stock")
	require.NoError(b, err)
	return db, c.DecrementIfPositive, atomic.Coalesce(c).DecrementIfPositive
}

// openRow makes the row.
func openRow(b *testing.B, target matrix.Target, dsn string) *sql.DB {
	db := target.Connect(b, dsn)
	if target.Dialect != nogap.SQLite { // whose pool is as large as is good for it
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
	}
	for _, s := range []string{
		"DROP TABLE IF EXISTS items",
		"CREATE TABLE items (id VARCHAR(20) PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 0)",
		"INSERT INTO items (id, stock) VALUES ('hot', " + strconv.FormatInt(stock, 10) + ")",
	} {
		_, err := db.Exec(s)
		require.NoError(b, err, s)
	}
	return db
}

func reset(db *sql.DB) error {
	_, err := db.Exec("UPDATE items SET stock = " + strconv.FormatInt(stock, 10))
	return err
}

// run lets the callers take from one row for a while, and returns how long each call took.
func run(b *testing.B, take takeFunc, callers int, d time.Duration) []time.Duration {
	return runOn(b, take, callers, d, func() any { return "hot" })
}

// runOn is run for callers that take from the rows that key says, which several goroutines call.
func runOn(b *testing.B, take takeFunc, callers int, d time.Duration, key func() any) []time.Duration {
	var wg sync.WaitGroup
	took := make([][]time.Duration, callers)
	end := time.Now().Add(d)
	for i := range callers {
		wg.Go(func() {
			for begin := time.Now(); begin.Before(end); {
				if _, err := take(context.Background(), key()); err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(begin))
				begin = now
			}
		})
	}
	wg.Wait()
	return slices.Concat(took...)
}

func p99(took []time.Duration) time.Duration { return quantile(took, 0.99) }

func quantile(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return took[int(q*float64(len(took)-1))]
}
