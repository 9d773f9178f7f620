// Start is the program of the README: somebody with money for two tickets clicks ten times at once.
//
//	go run -C examples ./start
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // or the driver of your database

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

func main() {
	file := filepath.Join(os.TempDir(), "start.db")
	os.Remove(file) // that of an earlier run
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(`
		CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT NOT NULL);
		CREATE TABLE wallets (id VARCHAR(40) PRIMARY KEY, balance BIGINT NOT NULL);
		INSERT INTO items VALUES ('ticket', 3);
		INSERT INTO wallets VALUES ('ann', 50);`)
	if err != nil {
		log.Fatal(err)
	}

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		log.Fatal(err)
	}
	wallet, err := atomic.NewCounter[int64](db, "wallets", "balance")
	if err != nil {
		log.Fatal(err)
	}

	buy := func(ctx context.Context) error {
		return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			if _, err := stock.WithTx(tx).DecrementIfPositive(ctx, "ticket"); err != nil {
				return err
			}
			_, err := wallet.WithTx(tx).Decrement(ctx, 20, "ann")
			return err // an error rolls back both
		})
	}
	var clicks sync.WaitGroup
	for range 10 {
		clicks.Go(func() {
			err := buy(context.Background())
			switch {
			case err == nil:
				fmt.Println("a ticket")
			case errors.Is(err, atomic.ErrInsufficient):
				fmt.Println("no ticket:", err)
			default:
				fmt.Println("something is wrong:", err)
			}
		})
	}
	clicks.Wait()
	left, err := stock.Get(context.Background(), "ticket")
	fmt.Println("left:", left, err)
}
