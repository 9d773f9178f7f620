package nogap_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

// Two buyers want the last piece. One of them gets it, with an order in the same transaction.
func Example() {
	db := shop() // your *sql.DB; here items holds 1 of sku-1

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	buy := func(ctx context.Context, buyer string) error {
		return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			if _, err := stock.WithTx(tx).DecrementIfPositive(ctx, "sku-1"); err != nil {
				return err // rolls back
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO orders (buyer, sku) VALUES ($1, $2)", buyer, "sku-1")
			return err
		})
	}
	for _, buyer := range []string{"ann", "bob"} {
		err := buy(context.Background(), buyer)
		switch {
		case err == nil:
			fmt.Println(buyer, "has bought it")
		case errors.Is(err, atomic.ErrInsufficient):
			fmt.Println(buyer, "is too late")
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			fmt.Println(buyer, "may have bought it: look for the order")
		default:
			fmt.Println(err) // nothing was written
		}
	}
	// Output:
	// ann has bought it
	// bob is too late
}

// The connection is lost before the answer to a write comes. ErrOutcomeUnknown says that the write may have been applied, so
// nothing is sent again. Here the caller looks.
func Example_errOutcomeUnknown() {
	db := unreliable() // items: 5 of sku-1, and the first answer to an UPDATE is lost

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	_, err = stock.Decrement(ctx, 1, "sku-1")
	if errors.Is(err, nogap.ErrOutcomeUnknown) {
		left, err := stock.Get(ctx, "sku-1")
		fmt.Println("the stock is", left, err)
	}
	// Output:
	// the stock is 4 <nil>
}

// A loop around a transaction of your own. transaction.Run is the same with pauses and a limit.
func ExampleRetryable() {
	db := deadlocked() // the first transaction deadlocks

	ctx := context.Background()
	sell := func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = $1 AND stock > 0", "sku-1"); err != nil {
			return err
		}
		return tx.Commit()
	}
	err := sell()
	for nogap.Retryable(err) {
		fmt.Println("again, after", err)
		err = sell()
	}
	fmt.Println(err)
	// Output:
	// again, after SQLSTATE 40P01
	// <nil>
}

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

// A write whose outcome is not known is logged. A refusal is an answer, and is not.
func ExampleLogObserver() {
	db := unreliable() // items: 5 of sku-1, and the first answer to an UPDATE is lost

	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "took" || a.Key == "error" { // left out of this example
				return slog.Attr{}
			}
			return a
		},
	}))
	defer nogap.Observe(db, nogap.LogObserver(logger))()

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	stock.Decrement(context.Background(), 1, "sku-1")
	stock.Decrement(context.Background(), 9, "sku-1")
	// Output:
	// level=ERROR msg="nogap: outcome unknown" operation=atomic.Decrement table=items attempts=1
}

// The databases of the examples are just enough of a PostgreSQL to answer them.

// shop returns a database that has one piece of one item.
func shop() *sql.DB {
	stock := int64(1)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
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

// unreliable returns a database that loses its first answer to an UPDATE.
func unreliable() *sql.DB {
	stock, lost := int64(5), false
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.1"), nil
		case strings.HasPrefix(c.Query, "UPDATE") && !lost:
			stock, lost = stock-1, true
			return fakedb.Reply{}, io.ErrUnexpectedEOF
		case strings.Contains(c.Query, "CASE"):
			return fakedb.Row(stock, int64(0)), nil
		case strings.HasPrefix(c.Query, "UPDATE"):
			return fakedb.Reply{Columns: []string{"stock"}}, nil
		}
		return fakedb.Row(stock), nil
	})
}

// deadlocked returns a database whose first transaction deadlocks.
func deadlocked() *sql.DB {
	done := false
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Exec && !done {
			done = true
			return fakedb.Reply{}, deadlock{}
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

type deadlock struct{}

func (deadlock) Error() string    { return "SQLSTATE 40P01" }
func (deadlock) SQLState() string { return "40P01" }
