package atomic_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
)

var ctx = context.Background()

func Example() {
	db := shop() // your *sql.DB; here items holds 1 of sku-1

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	for range 2 {
		left, err := stock.DecrementIfPositive(ctx, "sku-1")
		switch {
		case err == nil:
			fmt.Println("sold,", left, "left")
		case errors.Is(err, atomic.ErrInsufficient):
			fmt.Println("sold out")
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			fmt.Println("sold or not: look before selling again")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// sold, 0 left
	// sold out
}

func ExampleCounter_Transfer() {
	db := bank() // accounts: alice has 80, bob has 0

	balance, err := atomic.NewCounter[int64](db, "accounts", "balance")
	if err != nil {
		panic(err)
	}
	fmt.Println(balance.Transfer(ctx, 50, atomic.Key{"alice"}, atomic.Key{"bob"}))
	fmt.Println(balance.Transfer(ctx, 50, atomic.Key{"alice"}, atomic.Key{"bob"}))
	// Output:
	// <nil>
	// atomic: accounts.balance at [alice] is 30: insufficient
}

func ExampleCounter_DecrementAll() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	err = stock.DecrementAll(ctx, []atomic.Item[int64]{
		{Key: atomic.Key{"sku-2"}, N: 3},
		{Key: atomic.Key{"sku-1"}, N: 2},
	})
	var short *atomic.RefusedError
	if errors.As(err, &short) {
		fmt.Println("only", short.Current, "of", short.Key[0])
	}
	// Output:
	// only 1 of sku-1
}

func ExampleSet() {
	db := blog() // likes, with UNIQUE (post_id, user_id)

	likes, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
	if err != nil {
		panic(err)
	}
	for range 2 {
		added, err := likes.Add(ctx, 7, "ann")
		fmt.Println(added, err)
	}
	// Output:
	// true <nil>
	// false <nil>
}

func ExampleState() {
	db := orders() // order 1 is pending

	status, err := atomic.NewState[string](db, "orders", "status")
	if err != nil {
		panic(err)
	}
	fmt.Println(status.Transition(ctx, "pending", "paid", 1))
	fmt.Println(status.Transition(ctx, "pending", "paid", 1))
	// Output:
	// <nil>
	// atomic: orders.status at [1] is paid: mismatch
}
