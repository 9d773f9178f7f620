package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
)

func ExampleNewCounter() {
	db := shop() // your *sql.DB

	_, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithKey("tenant", "sku"))
	fmt.Println(err)
	_, err = atomic.NewCounter[int64](db, "items", "")
	fmt.Println(err)
	// Output:
	// <nil>
	// atomic: column name "" is empty or has an empty part
}

func ExampleCounter_Decrement() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	left, err := stock.Decrement(ctx, 3, "sku-2")
	fmt.Println(left, err)
	left, err = stock.Decrement(ctx, 3, "sku-2") // the value that comes with a refusal is what is there
	fmt.Println(left, errors.Is(err, atomic.ErrInsufficient))
	_, err = stock.Decrement(ctx, 3, "sku-3")
	fmt.Println(errors.Is(err, sql.ErrNoRows))
	// Output:
	// 2 <nil>
	// 2 true
	// true
}

func ExampleCounter_DecrementIfPositive() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	left, err := stock.DecrementIfPositive(ctx, "sku-1")
	fmt.Println(left, err)
	_, err = stock.DecrementIfPositive(ctx, "sku-1")
	fmt.Println(err)
	// Output:
	// 0 <nil>
	// atomic: items.stock at [sku-1] is 0: insufficient
}

func ExampleCounter_Increment() {
	db := bank() // accounts: alice has 80, bob has 0

	balance, err := atomic.NewCounter[int64](db, "accounts", "balance")
	if err != nil {
		panic(err)
	}
	sum, err := balance.Increment(ctx, 20, "alice")
	fmt.Println(sum, err)
	// Output:
	// 100 <nil>
}

// A limit is never passed, however many callers there are.
func ExampleCounter_IncrementUpTo() {
	db := bank() // accounts: alice has 80, bob has 0

	balance, err := atomic.NewCounter[int64](db, "accounts", "balance")
	if err != nil {
		panic(err)
	}
	for range 2 {
		sum, err := balance.IncrementUpTo(ctx, 15, 100, "alice")
		switch {
		case err == nil:
			fmt.Println("now", sum)
		case errors.Is(err, atomic.ErrLimit):
			fmt.Println("no: it is", sum, "already")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// now 95
	// no: it is 95 already
}

func ExampleCounter_CompareAndSet() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	fmt.Println(stock.CompareAndSet(ctx, 5, 7, "sku-2"))
	err = stock.CompareAndSet(ctx, 5, 8, "sku-2") // it is 7 by now
	fmt.Println(err, errors.Is(err, atomic.ErrMismatch))
	// Output:
	// <nil>
	// atomic: items.stock at [sku-2] is 7: mismatch true
}

func ExampleCounter_Get() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	fmt.Println(stock.Get(ctx, "sku-2")) // to show it: Decrement decides and writes in one statement
	// Output:
	// 5 <nil>
}

// The change becomes a part of your transaction: it stands when that is committed, and not before.
func ExampleCounter_WithTx() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	tx, err := db.BeginTx(ctx, nil) // or the transaction of sqlx, GORM or bun
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	left, err := stock.WithTx(tx).Decrement(ctx, 3, "sku-2")
	fmt.Println(left, err)
	// … what else belongs to the order
	fmt.Println(tx.Rollback())
	fmt.Println(stock.Get(ctx, "sku-2"))

	_, err = stock.WithTx(db).Decrement(ctx, 3, "sku-2") // a *sql.DB is no transaction
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// <nil>
	// 5 <nil>
	// atomic: items.stock at [sku-2]: *sql.DB is a pool of connections and no transaction: begin one, and pass that
}

// The error says which row refused the change, and why.
func ExampleRefusedError() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	_, err = stock.Decrement(ctx, 9, "sku-2")
	var refused *atomic.RefusedError
	if errors.As(err, &refused) {
		fmt.Println(refused.Table, refused.Column, refused.Key, refused.Current)
		fmt.Println(refused.Err == atomic.ErrInsufficient)
	}
	// Output:
	// items stock [sku-2] 5
	// true
}

// The connection is lost while the statement is under way. Nobody knows whether it was carried out, so nothing is sent
// again. The page docs/outcome-unknown.md has three ways to go on.
func ExampleCounter_outcomeUnknown() {
	db := unreliable() // items: 5 of sku-1, and the answer to the first UPDATE is lost

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	_, err = stock.Decrement(ctx, 1, "sku-1")
	if errors.Is(err, nogap.ErrOutcomeUnknown) {
		left, err := stock.Get(ctx, "sku-1")
		fmt.Println("it may have been sold; the stock is", left, err)
	}
	// Output:
	// it may have been sold; the stock is 4 <nil>
}

// When the context ends before the statement is sent, nothing is written.
func ExampleCounter_context() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	ended, cancel := context.WithTimeout(ctx, -time.Second)
	defer cancel()
	_, err = stock.Decrement(ended, 1, "sku-1")
	fmt.Println(errors.Is(err, context.DeadlineExceeded), errors.Is(err, nogap.ErrOutcomeUnknown))
	// Output:
	// true false
}

// A Table of package optimistic that read the row before does not write over the new stock: its version is out of date.
func ExampleVersionColumn() {
	db := shopWithVersions() // items: 5 of sku-1, in version 7

	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
	if err != nil {
		panic(err)
	}
	left, err := stock.Decrement(ctx, 2, "sku-1")
	fmt.Println(left, err)
	var version int64
	err = db.QueryRowContext(ctx, "SELECT version FROM items WHERE id = $1", "sku-1").Scan(&version)
	fmt.Println("version", version, err)
	// Output:
	// 3 <nil>
	// version 8 <nil>
}
