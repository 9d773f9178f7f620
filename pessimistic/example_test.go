package pessimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

var ctx = context.Background()

type Account struct {
	ID      string `db:"id"`
	Balance int64  `db:"balance"`
}

type Order struct {
	ID       int64  `db:"id"`
	SKU      string `db:"sku"`
	Quantity int64  `db:"quantity"`
}

type Job struct {
	ID      int64  `db:"id"`
	Address string `db:"address"`
}

func Example() {
	db := bank() // your *sql.DB; here alice has 80

	err := pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "accounts", Key: "alice"},
		func(ctx context.Context, tx *sqlx.Tx, account *Account) error {
			fee := account.Balance / 20 // whatever SQL could not say
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - $1 WHERE id = $2", fee, account.ID)
			return err
		})
	fmt.Println(err)
	// Output:
	// UPDATE accounts SET balance = balance - $1 WHERE id = $2 [4 alice]
	// <nil>
}

// What other packages of nogap write in the callback belongs to its transaction.
func ExampleWithRowLock() {
	db := shop() // order 7 is for 2 of sku-1, of which there are 5
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		panic(err)
	}

	id := 7
	err = pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "orders", Key: id},
		func(ctx context.Context, tx *sqlx.Tx, order *Order) error {
			price := 10 * order.Quantity // or whatever SQL could not say
			left, err := stock.WithTx(tx).Decrement(ctx, order.Quantity, order.SKU)
			if err != nil {
				return err // atomic.ErrInsufficient, in the same transaction
			}
			fmt.Println(left, "left")
			_, err = tx.ExecContext(ctx, tx.Rebind("UPDATE orders SET price = ? WHERE id = ?"), price, id)
			return err
		})
	fmt.Println(err)
	// Output:
	// 3 left
	// UPDATE orders SET price = $1 WHERE id = $2 [20 7]
	// <nil>
}

func ExampleWithRowLocks() {
	db := bank() // alice has 80, bob has 0

	transfer := func(from, to string, amount int64) error {
		return pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "accounts", Keys: []any{from, to}},
			func(ctx context.Context, tx *sqlx.Tx, accounts []*Account) error {
				if accounts[0].Balance < amount {
					return fmt.Errorf("%s has only %d", from, accounts[0].Balance)
				}
				for i, n := range []int64{-amount, amount} {
					_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance + $1 WHERE id = $2", n, accounts[i].ID)
					if err != nil {
						return err
					}
				}
				return nil
			})
	}
	fmt.Println(transfer("bob", "alice", 50))
	fmt.Println(transfer("alice", "bob", 50))
	// Output:
	// bob has only 0
	// UPDATE accounts SET balance = balance + $1 WHERE id = $2 [-50 alice]
	// UPDATE accounts SET balance = balance + $1 WHERE id = $2 [50 bob]
	// <nil>
}

// A condition chooses the rows. They are locked before the callback decides about all of them together.
func ExampleWithRowLocks_where() {
	db := bank() // alice has 80, bob has 0

	rows := pessimistic.Rows{Table: "accounts", Where: "branch = $1", Args: []any{"north"}, Limit: 100}
	err := pessimistic.WithRowLocks(ctx, db, rows, func(ctx context.Context, tx *sqlx.Tx, accounts []*Account) error {
		var sum int64
		for _, a := range accounts {
			sum += a.Balance
		}
		for _, a := range accounts { // everybody gets the same
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = $1 WHERE id = $2", sum/int64(len(accounts)), a.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println(err)

	rows.Limit = 1
	err = pessimistic.WithRowLocks(ctx, db, rows, func(context.Context, *sqlx.Tx, []*Account) error { return nil })
	fmt.Println(err, errors.Is(err, pessimistic.ErrTooManyRows))
	// Output:
	// UPDATE accounts SET balance = $1 WHERE id = $2 [40 alice]
	// UPDATE accounts SET balance = $1 WHERE id = $2 [40 bob]
	// <nil>
	// pessimistic: accounts: too many rows: the Limit is 1 true
}

func ExampleClaim() {
	db := queue() // jobs: two welcome letters

	next := pessimistic.Queue{Table: "jobs", Where: "done_at IS NULL", OrderBy: "id", Limit: 10}
	work := func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
		for _, job := range jobs {
			fmt.Println("writing to", job.Address)
			if _, err := tx.ExecContext(ctx, "UPDATE jobs SET done_at = now() WHERE id = $1", job.ID); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		err := pessimistic.Claim(ctx, db, next, work)
		if errors.Is(err, sql.ErrNoRows) {
			fmt.Println("nothing left to do")
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// writing to ann@example.com
	// UPDATE jobs SET done_at = now() WHERE id = $1 [1]
	// writing to bob@example.com
	// UPDATE jobs SET done_at = now() WHERE id = $1 [2]
	// nothing left to do
}

func ExampleWithNamedLock() {
	db := bank()

	err := pessimistic.WithNamedLock(ctx, db, "invoice-2026", func(ctx context.Context, tx *sqlx.Tx) error {
		// Nobody else numbers invoices now, and there need not be one yet.
		_, err := tx.ExecContext(ctx, "INSERT INTO invoices SELECT coalesce(max(n), 0) + 1 FROM invoices WHERE year = $1", 2026)
		return err
	})
	fmt.Println(err)
	// Output:
	// INSERT INTO invoices SELECT coalesce(max(n), 0) + 1 FROM invoices WHERE year = $1 [2026]
	// <nil>
}

func ExampleLockRow() {
	db := bank() // your *sql.DB

	tx, err := db.BeginTx(ctx, nil) // or the transaction of sqlx, GORM or bun
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	account, err := pessimistic.LockRow[Account](ctx, tx, pessimistic.Row{Table: "accounts", Key: "alice"})
	if err != nil {
		panic(err)
	}
	fmt.Println(account.ID, "has", account.Balance)
	fmt.Println(tx.Commit())
	// Output:
	// alice has 80
	// <nil>
}

func ExampleLockRows() {
	db := bank() // your *sql.DB

	tx, err := db.BeginTx(ctx, nil) // or the transaction of sqlx, GORM or bun
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	accounts, err := pessimistic.LockRows[Account](ctx, tx, pessimistic.Rows{Table: "accounts", Keys: []any{"bob", "alice"}})
	if err != nil {
		panic(err)
	}
	for _, a := range accounts { // alice was locked first, as everywhere
		fmt.Println(a.ID, "has", a.Balance)
	}
	fmt.Println(tx.Commit())
	// Output:
	// bob has 0
	// alice has 80
	// <nil>
}

// The error says which lock it was.
func ExampleLockError() {
	db := busy() // somebody else has the row

	row := pessimistic.Row{Table: "accounts", Key: "alice"}
	err := pessimistic.WithRowLock(ctx, db, row, func(context.Context, *sqlx.Tx, *Account) error { return nil },
		pessimistic.NoWait())
	var locked *pessimistic.LockError
	if errors.As(err, &locked) {
		fmt.Println("try again later:", locked.Table, locked.Key)
	}
	fmt.Println(errors.Is(err, pessimistic.ErrLocked))
	// Output:
	// try again later: accounts [alice]
	// true
}

// A user who could only wait is told at once.
func ExampleNoWait() {
	db := busy() // somebody else has the row

	row := pessimistic.Row{Table: "accounts", Key: "alice"}
	err := pessimistic.WithRowLock(ctx, db, row, func(context.Context, *sqlx.Tx, *Account) error { return nil },
		pessimistic.NoWait())
	fmt.Println(err)
	fmt.Println(errors.Is(err, pessimistic.ErrLocked))
	// Output:
	// pessimistic: accounts at [alice]: locked: SQLSTATE 55P03
	// true
}

// Each transaction tells PostgreSQL's row level security which tenant it is for.
func ExampleBefore() {
	db := bank() // alice has 80

	tenant := pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "SELECT set_config('app.tenant', $1, true)", "acme")
		return err
	})
	err := pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "accounts", Key: "alice"},
		func(ctx context.Context, tx *sqlx.Tx, account *Account) error {
			fmt.Println(account.ID, "has", account.Balance)
			return nil
		}, tenant)
	fmt.Println(err)
	// Output:
	// alice has 80
	// <nil>
}

func ExampleTimeout() {
	db := busy() // somebody else has the row

	row := pessimistic.Row{Table: "accounts", Key: "alice"}
	err := pessimistic.WithRowLock(ctx, db, row, func(context.Context, *sqlx.Tx, *Account) error { return nil },
		pessimistic.Timeout(100*time.Millisecond))
	if errors.Is(err, pessimistic.ErrLockTimeout) {
		fmt.Println("try again later")
	}
	// Output:
	// try again later
}

// The databases of the examples answer what a PostgreSQL would, and print what is written.

func bank() *sql.DB {
	balance := map[driver.Value]int64{"alice": 80, "bob": 0}
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Query && strings.Contains(c.Query, "accounts") {
			id := c.Arg(len(c.Args) - 1)
			if strings.Contains(c.Query, "LIMIT") { // the rows of a condition
				return rows([]string{"id"}, []driver.Value{"alice"}, []driver.Value{"bob"}), nil
			}
			if strings.Contains(c.Query, `"balance", "id"`) { // of several rows, whose keys are compared
				return rows([]string{"id", "balance", "id"}, []driver.Value{id, balance[id], id}), nil
			}
			return rows([]string{"id", "balance"}, []driver.Value{id, balance[id]}), nil
		}
		return anything(c)
	})
}

func shop() *sql.DB {
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind == fakedb.Query && strings.Contains(c.Query, "orders"):
			return rows([]string{"id", "sku", "quantity"}, []driver.Value{int64(7), "sku-1", int64(2)}), nil
		case c.Kind == fakedb.Query && strings.Contains(c.Query, "UPDATE"):
			return fakedb.Row(int64(3)), nil
		}
		return anything(c)
	})
}

func queue() *sql.DB {
	claimed := false
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Query && strings.Contains(c.Query, "jobs") {
			if claimed {
				return rows([]string{"id", "address"}), nil
			}
			claimed = true
			return rows([]string{"id", "address"}, []driver.Value{int64(1), "ann@example.com"},
				[]driver.Value{int64(2), "bob@example.com"}), nil
		}
		return anything(c)
	})
}

func busy() *sql.DB {
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.Contains(c.Query, "FOR UPDATE") {
			return fakedb.Reply{}, stateError("55P03")
		}
		return anything(c)
	})
}

// anything answers what the examples don't care about.
func anything(c fakedb.Call) (fakedb.Reply, error) {
	switch {
	case c.Kind == fakedb.Exec && !strings.HasPrefix(c.Query, "SELECT"):
		fmt.Print(c.Query)
		var args []any
		for i := range c.Args {
			args = append(args, c.Arg(i))
		}
		fmt.Println("", args)
	case strings.Contains(c.Query, "version()"):
		return fakedb.Row("PostgreSQL 18.0"), nil
	case strings.Contains(c.Query, "transaction_isolation"):
		return fakedb.Row("", "read committed"), nil
	case strings.Contains(c.Query, "lock_timeout"):
		return fakedb.Row("0", "100ms"), nil
	}
	return fakedb.Reply{RowsAffected: 1}, nil
}

func rows(columns []string, values ...[]driver.Value) fakedb.Reply {
	return fakedb.Reply{Columns: columns, Rows: values}
}
