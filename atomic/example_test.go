package atomic_test

import (
	"context"
	"database/sql"
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

// Of several deliveries of one event, one is handled.
func ExampleSet_Add() {
	db := blog() // handled_events, with UNIQUE (source, event_id)

	handled, err := atomic.NewSet(db, "handled_events", []string{"source", "event_id"})
	if err != nil {
		panic(err)
	}
	for range 2 {
		first, err := handled.Add(ctx, "shop", 4711)
		switch {
		case err != nil:
			fmt.Println(err) // with nogap.ErrOutcomeUnknown it may be there
		case first:
			fmt.Println("handling it")
		default:
			fmt.Println("handled before")
		}
	}
	// Output:
	// handling it
	// handled before
}

func ExampleSet_Remove() {
	db := blog() // likes, with UNIQUE (post_id, user_id)

	likes, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
	if err != nil {
		panic(err)
	}
	if _, err := likes.Add(ctx, 7, "ann"); err != nil {
		panic(err)
	}
	for range 2 {
		removed, err := likes.Remove(ctx, 7, "ann")
		fmt.Println(removed, err)
	}
	// Output:
	// true <nil>
	// false <nil>
}

// The member is there when the transaction is committed: the event and its effect stand together.
func ExampleSet_WithTx() {
	db := blog() // handled_events, with UNIQUE (source, event_id)

	handled, err := atomic.NewSet(db, "handled_events", []string{"source", "event_id"})
	if err != nil {
		panic(err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	first, err := handled.WithTx(tx).Add(ctx, "shop", 4711)
	fmt.Println(first, err)
	// … the effect of the event, in tx
	fmt.Println(tx.Commit())
	// Output:
	// true <nil>
	// <nil>
}

func ExampleCreateMissing() {
	db := numbered() // invoice_numbers: nothing in it yet

	numbers, err := atomic.NewCounter[int64](db, "invoice_numbers", "last", atomic.WithKey("series"), atomic.CreateMissing())
	if err != nil {
		panic(err)
	}
	tx, err := db.Begin()
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	n, err := numbers.WithTx(tx).Increment(ctx, 1, "2026-11") // others who want a number of this series wait until COMMIT
	if err != nil {
		panic(err)
	}
	// … insert the invoice with the number n, in tx
	fmt.Println("invoice", n, tx.Commit())
	// Output:
	// invoice 1 <nil>
}

func ExampleCounter_IncrementAll() {
	db := shop() // items: 1 of sku-1, 5 of sku-2

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}
	fmt.Println(stock.IncrementAll(ctx, []atomic.Item[int64]{ // a cart that is given back
		{Key: atomic.Key{"sku-2"}, N: 3},
		{Key: atomic.Key{"sku-1"}, N: 2},
	}))
	// Output:
	// <nil>
}

func ExampleSingleUse() {
	db := codes() // password_resets: "c0de" of user 7, for another hour

	type Reset struct {
		Code   string `db:"code"`
		UserID int64  `db:"user_id"`
	}
	resets, err := atomic.NewSingleUse[Reset](db, "password_resets",
		atomic.WithKey("code"), atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"))
	if err != nil {
		panic(err)
	}
	for range 2 {
		reset, err := resets.Use(ctx, "c0de")
		switch {
		case err == nil:
			fmt.Println("user", reset.UserID, "may set a password")
		case errors.Is(err, atomic.ErrUsed), errors.Is(err, atomic.ErrExpired), errors.Is(err, sql.ErrNoRows):
			fmt.Println("this link is not good any more")
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			fmt.Println("the code may be used up: send another one")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// user 7 may set a password
	// this link is not good any more
}

func ExampleSingleUse_Use() {
	db := codes() // password_resets: "c0de" of user 7, for another hour

	type Reset struct {
		Code   string `db:"code"`
		UserID int64  `db:"user_id"`
	}
	resets, err := atomic.NewSingleUse[Reset](db, "password_resets",
		atomic.WithKey("code"), atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"))
	if err != nil {
		panic(err)
	}
	reset, err := resets.Use(ctx, "c0de")
	fmt.Println(reset.UserID, err)
	reset, err = resets.Use(ctx, "c0de")
	fmt.Println(reset.UserID, errors.Is(err, atomic.ErrUsed))
	// Output:
	// 7 <nil>
	// 0 true
}

func ExampleWhere() {
	db := coupon(2) // coupons: NEW10 may be used twice

	used, err := atomic.NewCounter[int64](db, "coupons", "used",
		atomic.WithKey("code"), atomic.Where("used < usage_limit AND deleted_at IS NULL"))
	if err != nil {
		panic(err)
	}
	for range 3 {
		n, err := used.Increment(ctx, 1, "NEW10")
		switch {
		case err == nil:
			fmt.Println("used", n, "times")
		case errors.Is(err, atomic.ErrConditionFailed):
			fmt.Println("not any more")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// used 1 times
	// used 2 times
	// not any more
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

// Two workers want the same order. One of them gets it, and the other learns which state it is in.
func ExampleState_Transition() {
	db := orders() // order 1 is pending

	type Status string
	const pending, paid Status = "pending", "paid"
	status, err := atomic.NewState[Status](db, "orders", "status")
	if err != nil {
		panic(err)
	}
	for range 2 {
		err := status.Transition(ctx, pending, paid, 1)
		var refused *atomic.RefusedError
		switch {
		case err == nil:
			fmt.Println("paid")
		case errors.As(err, &refused): // ErrMismatch
			fmt.Println("not pending any more, but", refused.Current.(Status))
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// paid
	// not pending any more, but paid
}
