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
