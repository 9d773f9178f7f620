//go:build unix

// Package optimistic_test measures optimistic.Table against what one would write by hand, side by side in one run:
//
//	go test -C benchmarks -run '^$' -bench . -benchtime 6x ./optimistic
//
// An iteration gives each rival a second, in slices, in turns. The metrics are the rivals' transactions per second
// and Modify's rate divided by a rival's. With fsync=on the server keeps what it commits, as one in production does; with
// fsync=off a transaction takes little more than the processors' time, which the program and the server share.
package optimistic_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/optimistic"
)

func TestMain(m *testing.M) { servers.Main(m) }

const connections = 50

type item struct {
	ID      int64 `db:"id"`
	Stock   int64 `db:"stock"`
	Version int64 `db:"version"`
}

// rival takes one from the stock of a row.
type rival struct {
	name string
	take func(ctx context.Context, id int64) error
}

// contest is a number of goroutines on a number of rows.
type contest struct {
	name             string
	goroutines, rows int
	// slice is short where the difference is small, so that what else the machine does meets all rivals alike, and long
	// where callers may stay without a turn for long.
	slice  time.Duration
	rivals func(*sql.DB) []rival
}

func BenchmarkModify(b *testing.B) {
	for _, c := range []contest{
		{"500 goroutines on 1 row", 500, 1, time.Second, func(db *sql.DB) []rival {
			return []rival{modify(db, "modify", 1), selectForUpdate(db), compareAndSwap(db), guardedUpdate(db)}
		}},
		{"1 goroutine on 1 row", 1, 1, 50 * time.Millisecond, func(db *sql.DB) []rival {
			return []rival{modify(db, "modify", 1), compareAndSwap(db)}
		}},
		{"16 goroutines on 10000 rows", 16, 10000, 50 * time.Millisecond, func(db *sql.DB) []rival {
			return []rival{modify(db, "modify", 1), compareAndSwap(db)}
		}},
		{"500 goroutines of 4 processes on 1 row", 500, 1, time.Second, func(db *sql.DB) []rival {
			return []rival{
				modify(db, "modify", 4), modify(db, "lock-after-1", 4, optimistic.LockAfter(1)), selectForUpdate(db), compareAndSwap(db),
			}
		}},
	} {
		for _, setting := range []string{"fsync=on", "fsync=off"} {
			b.Run(c.name+"/"+setting, func(b *testing.B) { c.run(b, setting) })
		}
	}
}

func (c contest) run(b *testing.B, setting string) {
	db := open(b, c.rows, setting)
	rivals := c.rivals(db)
	for _, r := range rivals {
		c.let(b, r) // to warm up: connections are made, statements prepared
	}
	done, spent := make([]int64, len(rivals)), make([]time.Duration, len(rivals))
	var total, writes int64
	require.NoError(b, db.QueryRow("SELECT sum(stock) FROM items").Scan(&total))
	round := 0
	for b.Loop() {
		for range time.Second / c.slice {
			round++
			for k := range rivals {
				i := (k + round) % len(rivals) // whoever comes first finds the tidiest table
				n, took := c.let(b, rivals[i])
				done[i] += n
				spent[i] += took
				writes += n
			}
		}
	}
	var left int64
	require.NoError(b, db.QueryRow("SELECT sum(stock) FROM items").Scan(&left))
	require.Equal(b, total-writes, left, "writes were lost")
	b.ReportMetric(0, "ns/op")
	rate := func(i int) float64 { return float64(done[i]) / spent[i].Seconds() }
	for i, r := range rivals {
		b.ReportMetric(rate(i), r.name+"/s")
		if i > 0 {
			b.ReportMetric(rate(0)/rate(i), "modify:"+r.name)
		}
	}
}

// let lets a rival work for a slice of time and returns how often it has taken one, and how long that took: what is
// under way at the end is finished, so that nobody gains by leaving some callers without a turn.
func (c contest) let(b *testing.B, r rival) (int64, time.Duration) {
	ctx := context.Background()
	var taken atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range c.goroutines {
		wg.Go(func() {
			for time.Since(start) < c.slice {
				if err := r.take(ctx, rand.Int64N(int64(c.rows))); err != nil {
					b.Error(r.name, err)
					return
				}
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	return taken.Load(), time.Since(start)
}

func open(b *testing.B, rows int, setting string) *sql.DB {
	db, err := sql.Open("pgx", servers.StartPostgres(b, setting).DSN)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	_, err = db.Exec("CREATE TABLE items (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL) WITH (fillfactor = 50)")
	require.NoError(b, err)
	_, err = db.Exec(fmt.Sprintf("INSERT INTO items SELECT n, 1000000000, 0 FROM generate_series(0, %d) n", rows-1))
	require.NoError(b, err)
	return db
}

// modify plays a number of processes: callers of different Tables do not queue for each other.
func modify(db *sql.DB, name string, processes int, opts ...optimistic.Option) rival {
	var tables []*optimistic.Table[item]
	for range processes {
		items, err := optimistic.NewTable[item](db, "items", opts...)
		if err != nil {
			panic(err)
		}
		tables = append(tables, items)
	}
	return rival{name, func(ctx context.Context, id int64) error {
		_, err := tables[rand.N(processes)].Modify(ctx, func(it *item) error { it.Stock--; return nil }, id)
		return err
	}}
}

func selectForUpdate(db *sql.DB) rival {
	return rival{"for-update", func(ctx context.Context, id int64) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var stock int64
		if err := tx.QueryRowContext(ctx, "SELECT stock FROM items WHERE id = $1 FOR UPDATE", id).Scan(&stock); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE items SET stock = $1 WHERE id = $2", stock-1, id); err != nil {
			return err
		}
		return tx.Commit()
	}}
}

func compareAndSwap(db *sql.DB) rival {
	return rival{"cas", func(ctx context.Context, id int64) error {
		for limit := 2 * time.Millisecond; ; limit = min(2*limit, 250*time.Millisecond) {
			var it item
			err := db.QueryRowContext(ctx, "SELECT id, stock, version FROM items WHERE id = $1", id).
				Scan(&it.ID, &it.Stock, &it.Version)
			if err != nil {
				return err
			}
			res, err := db.ExecContext(ctx, "UPDATE items SET stock = $1, version = $2 WHERE id = $3 AND version = $4",
				it.Stock-1, it.Version+1, id, it.Version)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 1 {
				return err
			}
			time.Sleep(rand.N(limit))
		}
	}}
}

func guardedUpdate(db *sql.DB) rival {
	return rival{"guarded-update", func(ctx context.Context, id int64) error {
		_, err := db.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = $1 AND stock >= 1", id)
		return err
	}}
}
