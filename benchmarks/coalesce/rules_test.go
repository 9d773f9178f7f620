//go:build unix

package coalesce_test

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

// BenchmarkRules is a rule written in Go on a hot row: optimistic.Coalesce beside Modify, SELECT … FOR UPDATE by hand, and
// WithRowLock.
func BenchmarkRules(b *testing.B) {
	for _, target := range []matrix.Target{matrix.Postgres()[0], matrix.MariaDB()[0]} {
		b.Run(target.Name, func(b *testing.B) {
			dsn := durable(b, target)
			for _, callers := range []int{500, 16} {
				b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) { manyRules(b, target, dsn, callers) })
			}
			b.Run("1 caller", func(b *testing.B) { oneRule(b, target, dsn) })
		})
	}
}

// seller is a way to take one from the row if there is one.
type seller struct {
	name string
	take takeFunc
}

type hotItem struct {
	ID      string `db:"id"`
	Stock   int64  `db:"stock"`
	Version int64  `db:"version"`
}

var errSoldOut = errors.New("sold out")

// sellers makes the row, and returns the ways to sell it, ours first.
func sellers(b *testing.B, target matrix.Target, dsn string) (*sql.DB, []seller) {
	db := openRow(b, target, dsn)
	items, err := optimistic.NewTable[hotItem](db, "items")
	require.NoError(b, err)
	by := func(modify func(context.Context, func(*hotItem) error, ...any) (*hotItem, error)) takeFunc {
		return func(ctx context.Context, key ...any) (int64, error) {
			item, err := modify(ctx, func(it *hotItem) error {
				if it.Stock == 0 {
					return errSoldOut
				}
				it.Stock--
				return nil
			}, key...)
			if err != nil {
				return 0, err
			}
			return item.Stock, nil
		}
	}
	bind := func(query string) string { return sqlx.Rebind(sqlx.BindType(target.Driver), query) }
	read := bind("SELECT stock FROM items WHERE id = ? FOR UPDATE")
	write := bind("UPDATE items SET stock = ? WHERE id = ?")
	byHand := func(ctx context.Context, key ...any) (stock int64, err error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return 0, err
		}
		defer tx.Rollback()
		if err := tx.QueryRowContext(ctx, read, key...).Scan(&stock); err != nil {
			return 0, err
		}
		if stock == 0 {
			return 0, errSoldOut
		}
		if _, err := tx.ExecContext(ctx, write, stock-1, key[0]); err != nil {
			return 0, err
		}
		return stock - 1, tx.Commit()
	}
	withRowLock := func(ctx context.Context, key ...any) (stock int64, err error) {
		err = pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: key[0]},
			func(ctx context.Context, tx *sqlx.Tx, it *hotItem) error {
				if it.Stock == 0 {
					return errSoldOut
				}
				stock = it.Stock - 1
				_, err := tx.ExecContext(ctx, write, stock, key[0])
				return err
			})
		return stock, err
	}
	return db, []seller{
		{"combined", by(optimistic.Coalesce(items).Modify)}, {"modify", by(items.Modify)}, {"row-lock", withRowLock}, {"for-update", byHand},
	}
}

func manyRules(b *testing.B, target matrix.Target, dsn string, callers int) {
	db, all := sellers(b, target, dsn)
	for _, s := range all {
		run(b, s.take, callers, slice/4) // to warm up
	}
	require.NoError(b, reset(db))
	took := make([][]time.Duration, len(all))
	calls := 0
	for b.Loop() {
		for i, s := range all {
			more := run(b, s.take, callers, slice)
			took[i] = append(took[i], more...)
			calls += len(more)
		}
	}
	var left int64
	require.NoError(b, db.QueryRow("SELECT stock FROM items").Scan(&left))
	require.EqualValues(b, calls, stock-left, "every answered call took one")
	last := len(all) - 1 // by hand
	b.ReportMetric(float64(len(took[2]))/float64(len(took[last])), "row-lock:for-update")
	for i, s := range all {
		b.ReportMetric(float64(len(took[i]))/(float64(b.N)*slice.Seconds()), s.name+"/s")
		b.ReportMetric(p99(took[i]).Seconds()*1e3, s.name+"-p99-ms")
		if i > 0 {
			b.ReportMetric(float64(len(took[0]))/float64(len(took[i])), "rate:"+s.name)
			b.ReportMetric(p99(took[0]).Seconds()/p99(took[i]).Seconds(), "p99:"+s.name)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// oneRule takes turns call by call.
func oneRule(b *testing.B, target matrix.Target, dsn string) {
	_, all := sellers(b, target, dsn)
	took := make([][]time.Duration, len(all))
	for b.Loop() {
		turn := 0
		for end := time.Now().Add(2 * slice); time.Now().Before(end); turn++ {
			for k := range all {
				i := (k + turn) % len(all)
				begin := time.Now()
				_, err := all[i].take(context.Background(), "hot")
				took[i] = append(took[i], time.Since(begin))
				require.NoError(b, err)
			}
		}
	}
	ours := quantile(took[0], 0.5)
	for i, s := range all {
		median := quantile(took[i], 0.5)
		b.ReportMetric(float64(median.Nanoseconds())/1e3, s.name+"-µs")
		if i > 0 {
			b.ReportMetric(ours.Seconds()/median.Seconds(), "latency:"+s.name)
		}
	}
	b.ReportMetric(0, "ns/op")
}
