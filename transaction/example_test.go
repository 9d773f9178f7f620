package transaction_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

// A checkout is a cart, a wallet and an order: all of it takes effect, or none.
func Example() {
	db := shop() // your *sql.DB; here the buyer has 20
	stock := must(atomic.NewCounter[int64](db, "items", "stock"))
	wallet := must(atomic.NewCounter[int64](db, "wallets", "balance"))
	orders := must(atomic.NewState[string](db, "orders", "status"))

	checkout := func(order, buyer string, cart []atomic.Item[int64], total int64) error {
		return transaction.Run(context.Background(), db, func(ctx context.Context, tx *sqlx.Tx) error {
			if err := stock.WithTx(tx).DecrementAll(ctx, cart); err != nil {
				return err
			}
			if _, err := wallet.WithTx(tx).Decrement(ctx, total, buyer); err != nil {
				return err
			}
			return orders.WithTx(tx).Transition(ctx, "pending", "paid", order)
		})
	}
	cart := []atomic.Item[int64]{{Key: atomic.Key{"pen"}, N: 2}}
	fmt.Println(checkout("order-1", "alice", cart, 8))
	fmt.Println(checkout("order-2", "alice", cart, 80))
	// Output:
	// <nil>
	// atomic: wallets.balance at [alice] is 12: insufficient
}

// What is read decides what is written, without a lock: Serializable sees to it that nothing has changed in between.
func ExampleRun() {
	db := hospital() // two doctors are on call

	leave := func(doctor string) error {
		return transaction.Run(context.Background(), db, func(ctx context.Context, tx *sqlx.Tx) error {
			var onCall int
			if err := tx.GetContext(ctx, &onCall, "SELECT count(*) FROM doctors WHERE on_call"); err != nil {
				return err
			}
			if onCall < 2 {
				return fmt.Errorf("%s is the last one", doctor)
			}
			_, err := tx.ExecContext(ctx, "UPDATE doctors SET on_call = false WHERE name = $1", doctor)
			return err
		}, transaction.Serializable())
	}
	fmt.Println(leave("ada"))
	fmt.Println(leave("bob"))
	// Output:
	// <nil>
	// bob is the last one
}

// The server ends one of two transactions that deadlock. Run runs it again, so the callback must change nothing but the
// database. (Here it counts its runs, to show them.)
func ExampleMaxAttempts() {
	db := unlucky(2) // the first two transactions deadlock

	attempts := 0
	err := transaction.Run(context.Background(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		attempts++
		_, err := tx.ExecContext(ctx, "UPDATE doctors SET on_call = false WHERE name = $1", "ada")
		return err
	})
	fmt.Println(err, "after", attempts, "attempts")

	db = unlucky(2)
	err = transaction.Run(context.Background(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE doctors SET on_call = false WHERE name = $1", "ada")
		return err
	}, transaction.MaxAttempts(1))
	fmt.Println(errors.Is(err, nogap.ErrRetriesExhausted))
	// Output:
	// <nil> after 3 attempts
	// true
}

// A report reads several tables as they were at one moment.
func ExampleReadOnly() {
	db := hospital() // two doctors are on call

	err := transaction.Run(context.Background(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		var onCall int
		err := tx.GetContext(ctx, &onCall, "SELECT count(*) FROM doctors WHERE on_call")
		fmt.Println(onCall, "on call")
		return err
	}, transaction.ReadOnly(), transaction.Isolation(sql.LevelRepeatableRead))
	fmt.Println(err)
	// Output:
	// 2 on call
	// <nil>
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// shop is a PostgreSQL with a wallet of 20 in it.
func shop() *sql.DB {
	balance := int64(20)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case strings.HasPrefix(c.Query, "SELECT") && strings.Contains(c.Query, "wallets"):
			return fakedb.Row(balance, int64(0)), nil
		case strings.Contains(c.Query, "wallets"):
			var n int64 // the amount is the argument that is a number
			for i := range c.Args {
				if v, err := strconv.ParseInt(fmt.Sprint(c.Arg(i)), 10, 64); err == nil {
					n = v
				}
			}
			if n > balance {
				return fakedb.Reply{Columns: []string{"balance"}}, nil
			}
			balance -= n
			return fakedb.Row(balance), nil
		case strings.HasPrefix(c.Query, `UPDATE "orders"`):
			return fakedb.Row(int64(1)), nil
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

// unlucky is a PostgreSQL whose first transactions deadlock.
func unlucky(times int) *sql.DB {
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case strings.HasPrefix(c.Query, "UPDATE") && times > 0:
			times--
			return fakedb.Reply{}, deadlock
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

// hospital is a PostgreSQL with two doctors on call in it.
func hospital() *sql.DB {
	onCall := int64(2)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case strings.Contains(c.Query, "count(*)"):
			return fakedb.Row(onCall), nil
		case strings.HasPrefix(c.Query, "UPDATE"):
			onCall--
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}
