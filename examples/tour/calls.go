package main

//lint:file-ignore SA4006 the README shows the calls without what is done about their errors

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

// fourCalls are those that people come for.
func fourCalls(ctx context.Context, db *sql.DB, clients []redis.UniversalClient) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		return err
	}
	locks, err := distlock.New(clients)
	if err != nil {
		return err
	}
	defer locks.Close()
	row := pessimistic.Row{Table: "orders", Key: 7}

	// discount runs with the row locked.
	discount := func(ctx context.Context, tx *sqlx.Tx, order *Order) error {
		price, err := priceOf(order)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, tx.Rebind("UPDATE orders SET price = ? WHERE id = ?"), price*9/10, order.ID)
		return err
	}
	// rename runs again when somebody else was faster.
	rename := func(ctx context.Context) error {
		var title string
		var version int64
		err := db.QueryRowContext(ctx, "SELECT title, version FROM events WHERE id = 1").Scan(&title, &version)
		if err != nil {
			return err
		}
		res, err := db.ExecContext(ctx, "UPDATE events SET title = ?, version = version + 1 WHERE id = 1 AND version = ?",
			title+" (open air)", version)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return optimistic.ErrVersionConflict
	}
	// report runs on one server at a time.
	report := func(ctx context.Context, lease *distlock.Lease) error {
		fmt.Println("reporting under the lock", lease.Name())
		return ctx.Err()
	}

	left, err := stock.DecrementIfPositive(ctx, "sku-1")  // atomic: one statement, only if there is one left
	err = pessimistic.WithRowLock(ctx, db, row, discount) // pessimistic: discount(ctx, tx, order) has the row for itself
	err = optimistic.RetryOnVersionConflict(ctx, rename)  // optimistic: rename(ctx) runs again when somebody was faster
	err = locks.WithLock(ctx, "nightly", report)          // distlock: report(ctx, lease) runs on one server at a time

	fmt.Println(left, "left")
	return err
}
