package main

import (
	"context"
	"fmt"
)

func Example() {
	fmt.Println(run(context.Background()))
	// Output:
	// 8 left
	// 7 left
	// user 7 may set a password
	// true
	// 6 left
	// order 7 is priced, 4 left
	// Concert has 99 seats
	// somebody was faster
	// Concert has 98 seats
	// order 7 is paid
	// invoice 1 for alice
	// invoice 2 for bob
	// 1450 left, replayed: false
	// 1450 left, replayed: true
	// 200 1350 left
	// 200 1350 left
	// the report is written
	// the editor has to read again: true
	// atomic.Decrement items refused
	// reporting under the lock nightly
	// 3 left
	// <nil>
}
