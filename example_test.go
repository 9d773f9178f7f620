package nogap_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// printer is an Observer that prints. One that counts or traces looks the same.
type printer struct{}

func (printer) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(r nogap.Result) { fmt.Println(op.Name, op.Table, r.Outcome) }
}

func ExampleObserve() {
	db := shop() // your *sql.DB; here items holds 1 of sku-1

	stop := nogap.Observe(db, printer{})
	defer stop()

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	stock.DecrementIfPositive(context.Background(), "sku-1")
	stock.DecrementIfPositive(context.Background(), "sku-1")
	// Output:
	// atomic.DecrementIfPositive items ok
	// atomic.DecrementIfPositive items refused
}

// shop returns a database that has one piece of one item.
func shop() *sql.DB {
	stock := int64(1)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row("PostgreSQL 15.1"), nil
		case strings.HasPrefix(c.Query, "SELECT"): // what is there, and whether that is enough
			return fakedb.Row(stock, stock), nil
		case strings.HasPrefix(c.Query, "UPDATE") && stock > 0:
			stock--
			return fakedb.Row(stock), nil
		}
		return fakedb.Reply{Columns: []string{"stock"}}, nil
	})
}
