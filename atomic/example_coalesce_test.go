package atomic_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func ExampleCoalesce() {
	db := fakedb.Open(smallint(300).handle) // the row sku-1 has a stock of 300
	defer db.Close()

	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
	if err != nil {
		panic(err)
	}
	hot := atomic.Coalesce(stock)
	defer hot.Close()

	var wg sync.WaitGroup
	var mu sync.Mutex
	sold, soldOut := 0, 0
	for range 500 {
		wg.Go(func() {
			_, err := hot.DecrementIfPositive(context.Background(), "sku-1")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				sold++
			case errors.Is(err, atomic.ErrInsufficient):
				soldOut++
			default:
				panic(err)
			}
		})
	}
	wg.Wait()
	fmt.Println(sold, "sold,", soldOut, "came too late")
	// Output:
	// 300 sold, 200 came too late
}

func ExampleCoalescer_DecrementIfPositive() {
	db := shop() // items: 1 of sku-1, 5 of sku-2
	defer db.Close()

	hot := atomic.Coalesce(must(atomic.NewCounter[int64](db, "items", "stock")))
	defer hot.Close()
	left, err := hot.DecrementIfPositive(ctx, "sku-1")
	fmt.Println(left, err)
	_, err = hot.DecrementIfPositive(ctx, "sku-1")
	fmt.Println(errors.Is(err, atomic.ErrInsufficient))
	// Output:
	// 0 <nil>
	// true
}

func ExampleCoalescer_Decrement() {
	db := shop() // items: 1 of sku-1, 5 of sku-2
	defer db.Close()

	hot := atomic.Coalesce(must(atomic.NewCounter[int64](db, "items", "stock")))
	defer hot.Close()
	left, err := hot.Decrement(ctx, 3, "sku-2")
	fmt.Println(left, err)
	// Output:
	// 2 <nil>
}

func ExampleCoalescer_Increment() {
	db := shop() // items: 1 of sku-1, 5 of sku-2
	defer db.Close()

	hot := atomic.Coalesce(must(atomic.NewCounter[int64](db, "items", "stock")))
	defer hot.Close()
	sum, err := hot.Increment(ctx, 3, "sku-2")
	fmt.Println(sum, err)
	// Output:
	// 8 <nil>
}

func ExampleCoalescer_IncrementUpTo() {
	db := shop() // items: 1 of sku-1, 5 of sku-2
	defer db.Close()

	hot := atomic.Coalesce(must(atomic.NewCounter[int64](db, "items", "stock")))
	defer hot.Close()
	_, err := hot.IncrementUpTo(ctx, 3, 7, "sku-2")
	fmt.Println(err, errors.Is(err, atomic.ErrLimit))
	// Output:
	// atomic: items.stock at [sku-2] is 5: limit reached true
}

// A service that shuts down closes its Coalescers before its database: the calls under way end first.
func ExampleCoalescer_Close() {
	db := shop() // items: 1 of sku-1, 5 of sku-2
	defer db.Close()

	hot := atomic.Coalesce(must(atomic.NewCounter[int64](db, "items", "stock")))
	fmt.Println(hot.Close())
	_, err := hot.Decrement(ctx, 3, "sku-2")
	fmt.Println(errors.Is(err, atomic.ErrClosed))
	// Output:
	// <nil>
	// true
}

// must is for errors of the program itself, such as a name that is empty.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
