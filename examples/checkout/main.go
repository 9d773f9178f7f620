// Checkout sells carts: the stock, a coupon with a limit, the buyer's wallet, the order's status and an invoice number without gaps
// change together or not at all, in one transaction that is run again if the server has undone it. The service is in
// shop.go, to be copied. The program lets many buyers check out at once and then audits the books:
//
//	go run -C examples ./checkout                                # on an SQLite file that is removed at the end
//	go run -C examples ./checkout -db postgres://localhost/test  # makes, and at the end drops, the tables of shop.go
//	go run -C examples ./checkout -db 'user:password@tcp(localhost:3306)/test'
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go
)

func main() {
	address := flag.String("db", "", "a PostgreSQL database (postgres://…), or one of MySQL or MariaDB (user:password@tcp(host:port)/name), "+
		"in place of an SQLite file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *address); err != nil {
		fmt.Fprintln(os.Stderr, "checkout:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, address string) (err error) {
	driver := "mysql"
	switch {
	case address == "":
		dir, err := os.MkdirTemp("", "checkout")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		driver = "sqlite"
		address = "file:" + filepath.Join(dir, "shop.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
	case strings.HasPrefix(address, "postgres"):
		driver = "pgx"
	}
	db, err := sqlx.Open(driver, address)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	for _, s := range schema {
		if _, err := db.ExecContext(ctx, "CREATE TABLE "+s.table+" ("+s.columns+")"); err != nil {
			return err
		}
		defer func() {
			_, dropped := db.ExecContext(context.WithoutCancel(ctx), "DROP TABLE "+s.table)
			err = errors.Join(err, dropped)
		}()
	}
	if err := fill(ctx, db); err != nil {
		return err
	}
	outcomes, err := sell(ctx, db.DB)
	if err != nil {
		return err
	}
	for _, what := range slices.Sorted(maps.Keys(outcomes)) {
		fmt.Fprintf(out, "%4d × %s\n", outcomes[what], what)
	}
	if err := audit(ctx, db); err != nil {
		return err
	}
	fmt.Fprintln(out, "The books are right.")
	return nil
}

// What there is to sell, and to pay with: not enough for everybody.
const (
	items, stock       = 12, 40
	buyers, balance    = 25, 10_000
	coupons, discount  = 20, 50
	orders, goroutines = 200, 40
)

func fill(ctx context.Context, db *sqlx.DB) error {
	random := rand.New(rand.NewPCG(1, 2)) // the same orders each time
	insert := func(table string, values ...any) error {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ")
		columns := map[string]string{"orders": " (id, buyer, coupon, status)"}[table]
		_, err := db.ExecContext(ctx, db.Rebind("INSERT INTO "+table+columns+" VALUES ("+marks+")"), values...)
		return err
	}
	errs := []error{insert("coupons", "SUMMER", discount, 0, coupons)}
	for i := range items {
		errs = append(errs, insert("items", fmt.Sprintf("sku-%d", i), 100+10*i, stock))
	}
	for i := range buyers {
		errs = append(errs, insert("wallets", fmt.Sprintf("buyer-%d", i), balance))
	}
	for id := range orders {
		coupon := []string{"", "SUMMER"}[id%2]
		errs = append(errs, insert("orders", id, fmt.Sprintf("buyer-%d", random.IntN(buyers)), coupon, "pending"))
		for _, i := range random.Perm(items)[:1+random.IntN(3)] {
			errs = append(errs, insert("order_lines", id, fmt.Sprintf("sku-%d", i), 1+random.IntN(4)))
		}
	}
	return errors.Join(errs...)
}

// sell checks out all orders in a random order, some of them twice, as impatient buyers do, and counts what came of it.
func sell(ctx context.Context, db *sql.DB) (map[string]int, error) {
	s, err := newShop(db)
	if err != nil {
		return nil, err
	}
	requests := append(rand.Perm(orders), rand.Perm(orders)[:orders/10]...)
	ids := make(chan int64, len(requests))
	for _, id := range requests {
		ids <- int64(id)
	}
	close(ids)

	var mu sync.Mutex
	outcomes, errs := map[string]int{}, make([]error, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for id := range ids {
				r, err := s.checkout(ctx, id)
				what := outcome(r, err)
				if what == "" {
					errs[i] = fmt.Errorf("order %d: %w", id, err)
					return
				}
				mu.Lock()
				outcomes[what]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return outcomes, errors.Join(errs...)
}

// outcome says what became of a checkout, or "" if it failed for a reason that is not the buyer's.
func outcome(r receipt, err error) string {
	switch {
	case err == nil && r.Discount > 0:
		return "paid, with a discount"
	case err == nil:
		return "paid"
	case strings.HasPrefix(refusal(err), "only "):
		return "not paid: not enough is left"
	case refusal(err) != "":
		return "not paid: " + refusal(err)
	}
	return ""
}
