package optimistic_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nogap-go/nogap/optimistic"
)

func ExampleCoalesce() {
	s := newShop()
	s.rows[42].Stock = 300
	db := s.DB() // a database with item 42: 300 in stock, version 7
	defer db.Close()

	items, err := optimistic.NewTable[Item](db, "items")
	if err != nil {
		panic(err)
	}
	hot := optimistic.Coalesce(items)
	defer hot.Close()

	var wg sync.WaitGroup
	var mu sync.Mutex
	sold, soldOut := 0, 0
	for range 500 {
		wg.Go(func() {
			_, err := hot.Modify(context.Background(), func(it *Item) error {
				if it.Stock == 0 {
					return errSoldOut
				}
				it.Stock--
				return nil
			}, 42)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				sold++
			case errors.Is(err, errSoldOut):
				soldOut++
			default:
				panic(err)
			}
		})
	}
	wg.Wait()
	item, err := items.Get(context.Background(), 42)
	if err != nil {
		panic(err)
	}
	fmt.Println(sold, "sold,", soldOut, "came too late, version", item.Version)
	// Output:
	// 300 sold, 200 came too late, version 307
}

func ExampleCoalescer_Modify() {
	db := newShop().DB() // a database with item 42: 2 in stock, version 7
	defer db.Close()

	items, err := optimistic.NewTable[Item](db, "items")
	if err != nil {
		panic(err)
	}
	hot := optimistic.Coalesce(items)
	defer hot.Close()
	item, err := hot.Modify(context.Background(), func(it *Item) error { it.Stock--; return nil }, 42)
	fmt.Println(item.Stock, item.Version, err)
	item, err = hot.Modify(context.Background(), func(it *Item) error { return errSoldOut }, 42)
	fmt.Println(item, err)
	// Output:
	// 1 8 <nil>
	// <nil> sold out
}

// A service that shuts down closes its Coalescers before its database: the calls under way end first.
func ExampleCoalescer_Close() {
	db := newShop().DB()
	defer db.Close()

	items, err := optimistic.NewTable[Item](db, "items")
	if err != nil {
		panic(err)
	}
	hot := optimistic.Coalesce(items)
	fmt.Println(hot.Close())
	_, err = hot.Modify(context.Background(), func(it *Item) error { it.Stock--; return nil }, 42)
	fmt.Println(errors.Is(err, optimistic.ErrClosed))
	// Output:
	// <nil>
	// true
}
