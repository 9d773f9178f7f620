package racetest_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/racetest/fakeitems"
	"github.com/nogap-go/nogap/racetest"
)

// In a test of yours it is the *testing.T.
var t = quiet{}

// database stands for racetest.Open("pgx", dsn).
var database = fakeitems.New()

// buy has the bug: it writes what it has decided before others wrote.
func buy(ctx context.Context, db *sql.DB) error {
	var stock int
	if err := db.QueryRowContext(ctx, "SELECT stock FROM items WHERE id = 1").Scan(&stock); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, "UPDATE items SET stock = $1 WHERE id = 1", stock-1)
	return err
}

// Both clients read the stock before one of them writes. The report has the steps in their order, what is wrong at the end,
// and what closes the gap. In a test of yours Explore fails with it.
func Example() {
	failure := racetest.MustFail(t, racetest.Scenario{
		Open: database,
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "UPDATE items SET stock = 10 WHERE id = 1")
			return err
		},
		Clients: []racetest.Client{{Name: "alice", Run: buy}, {Name: "bob", Run: buy}},
	})
	report, _, _ := strings.Cut(failure.String(), "found ") // how long it took, and the line that plays it again
	fmt.Println(report)
	// Output:
	// racetest: lost update: alice writes what it decided before bob wrote
	//
	//      alice                                          bob
	//   1  SELECT stock FROM items WHERE id = 1
	//      → stock 10
	//   2                                                 SELECT stock FROM items WHERE id = 1
	//                                                     → stock 10
	//   3                                                 UPDATE items SET stock = $1 WHERE id = 1 [9]
	//                                                     → 1 row
	//   4  UPDATE items SET stock = $1 WHERE id = 1 [9]
	//      → 1 row — overwrites step 3, decided by what
	//      step 1 read
	//
	// the end   items, id 1: stock is 9; every order of whole clients ends with 8
	// close it  atomic: one guarded statement has no gap (Counter for a number, State for a status,
	//           SingleUse for a code);
	//           optimistic.Table.Modify compares a version; pessimistic.WithRowLock locks the row before
	//           it is read
}

func ExampleMustFail() {
	failure := racetest.MustFail(t, racetest.Scenario{
		Open: database,
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "UPDATE items SET stock = 10 WHERE id = 1")
			return err
		},
		Clients: []racetest.Client{{Name: "alice", Run: buy}, {Name: "bob", Run: buy}},
	})
	fmt.Println(failure.Kind)
	fmt.Println(failure.Differences[0])
	fmt.Println(failure.Schedule)
	// Output:
	// lost update
	// items, id 1: stock is 9; every order of whole clients ends with 8
	// alice:1 bob:2 alice:1
}

func ExampleExplore() {
	buy := func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = 1 AND stock > 0")
		return err
	}
	racetest.Explore(t, racetest.Scenario{
		Open: database,
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "UPDATE items SET stock = 10 WHERE id = 1")
			return err
		},
		Clients: []racetest.Client{{Name: "alice", Run: buy}, {Name: "bob", Run: buy}},
	})
	fmt.Println("no failure")
	// Output: no failure
}

// The bug is in the time of a call to another service, which is no statement. Step lets other clients go on there.
func ExampleStep() {
	pay := func(ctx context.Context, db *sql.DB) error {
		var stock int
		if err := db.QueryRowContext(ctx, "SELECT stock FROM items WHERE id = 1").Scan(&stock); err != nil {
			return err
		}
		racetest.Step(ctx, "charge the card")
		// … the call
		_, err := db.ExecContext(ctx, "UPDATE items SET stock = $1 WHERE id = 1", stock-1)
		return err
	}
	failure := racetest.MustFail(t, racetest.Scenario{
		Open: database,
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "UPDATE items SET stock = 10 WHERE id = 1")
			return err
		},
		Clients: []racetest.Client{{Name: "alice", Run: pay}, {Name: "bob", Run: pay}},
	})
	fmt.Println(failure.Kind)
	fmt.Println(strings.Count(failure.String(), "charge the card"), "calls")
	// Output:
	// lost update
	// 2 calls
}

// quiet is a test whose log nobody reads.
type quiet struct{}

func (quiet) Helper()                        {}
func (quiet) Name() string                   { return "TestBuy" }
func (quiet) Logf(string, ...any)            {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
