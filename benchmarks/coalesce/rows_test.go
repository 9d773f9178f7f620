//go:build unix

package coalesce_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
)

// BenchmarkManyRows is callers who want many warm rows of one table: each call takes one from a row that chance chooses.
func BenchmarkManyRows(b *testing.B) {
	for _, target := range []matrix.Target{matrix.Postgres()[0], matrix.MariaDB()[0]} {
		b.Run(target.Name, func(b *testing.B) {
			dsn := durable(b, target)
			for _, size := range []struct{ callers, rows int }{{5000, 1000}, {500, 1000}, {100, 1000}, {16, 1000}, {100, 20}} {
				b.Run(strconv.Itoa(size.callers)+" callers, "+strconv.Itoa(size.rows)+" rows", func(b *testing.B) {
					manyRows(b, target, dsn, size.callers, size.rows)
				})
			}
		})
	}
}

func manyRows(b *testing.B, target matrix.Target, dsn string, callers, rows int) {
	db, counter, coalescer := open(b, target, dsn)
	values := make([]string, rows)
	keys := make([]any, rows)
	for i := range rows {
		keys[i] = "sku-" + strconv.Itoa(i)
		values[i] = "('sku-" + strconv.Itoa(i) + "', " + strconv.FormatInt(1<<40, 10) + ")"
	}
	_, err := db.Exec("INSERT INTO items (id, stock) VALUES " + strings.Join(values, ", "))
	require.NoError(b, err)
	key := func() any { return keys[rand.IntN(rows)] }
	calls := 0
	for _, take := range []takeFunc{counter, coalescer} {
		calls += len(runOn(b, take, callers, slice/4, key)) // to warm up
	}
	var plain, coalesced []time.Duration
	for b.Loop() {
		plain = append(plain, runOn(b, counter, callers, slice, key)...)
		coalesced = append(coalesced, runOn(b, coalescer, callers, slice, key)...)
	}
	var left int64
	require.NoError(b, db.QueryRow("SELECT SUM(stock) FROM items WHERE id <> 'hot'").Scan(&left))
	require.EqualValues(b, calls+len(plain)+len(coalesced), int64(rows)<<40-left, "every answered call took one")
	report(b, plain, coalesced)
}
