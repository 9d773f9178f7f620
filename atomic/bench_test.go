package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// instant is a server that answers at once and allocates nothing, so that what is left is the client's own cost.
func instant(tb testing.TB) *sql.DB {
	row := fakedb.Reply{
		Columns: []string{"stock"}, Rows: [][]driver.Value{{int64(41)}}, RowsAffected: 1, LastInsertID: 41,
	}
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return row, nil })
	tb.Cleanup(func() { db.Close() })
	return db
}

// byHand is what nogap replaces: a guarded UPDATE by ExecContext and RowsAffected, which doesn't return what is left.
func byHand(ctx context.Context, db *sql.DB, key string) (bool, error) {
	res, err := db.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = $1 AND stock >= 1", key)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func BenchmarkDecrementIfPositive(b *testing.B) {
	contexts := map[string]func() (context.Context, context.CancelFunc){
		"background": func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
		"cancelable": func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
	}
	for name, newContext := range contexts {
		b.Run(name+"/by hand", func(b *testing.B) {
			db := instant(b)
			ctx, cancel := newContext()
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := byHand(ctx, db, "sku-1"); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL} {
			b.Run(name+"/nogap on "+d.String(), func(b *testing.B) {
				stock, err := atomic.NewCounter[int64](instant(b), "items", "stock", atomic.WithDialect(d))
				require.NoError(b, err)
				ctx, cancel := newContext()
				defer cancel()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := stock.DecrementIfPositive(ctx, "sku-1"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A change costs at most six allocations more than the statement written by hand. (RETURNING under a context that can be
// cancelled costs four more: database/sql watches the context for as long as rows are open.)
func TestAllocations(t *testing.T) {
	ctx := context.Background()
	db := instant(t)
	hand := testing.AllocsPerRun(1000, func() {
		if _, err := byHand(ctx, db, "sku-1"); err != nil {
			t.Error(err)
		}
	})
	for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL, nogap.MariaDB, nogap.SQLite} {
		stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(d))
		require.NoError(t, err)
		nogaps := testing.AllocsPerRun(1000, func() {
			if _, err := stock.DecrementIfPositive(ctx, "sku-1"); err != nil {
				t.Error(err)
			}
		})
		require.LessOrEqual(t, nogaps, hand+6, d)
	}
}
