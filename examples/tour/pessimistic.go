package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/pessimistic"
)

// Order is a row of orders.
type Order struct {
	ID       int64  `db:"id"`
	SKU      string `db:"sku"`
	Quantity int64  `db:"quantity"`
}

// priceOf decides what SQL can't.
func priceOf(o *Order) (int64, error) { return 120 * o.Quantity, nil }

func holdTheGap(ctx context.Context, db *sql.DB) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		return err
	}
	id := 7
	err = pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "orders", Key: id},
		func(ctx context.Context, tx *sqlx.Tx, order *Order) error {
			price, err := priceOf(order) // decisions that SQL can't make
			if err != nil {
				return err // rolls back
			}
			if _, err := stock.WithTx(tx).Decrement(ctx, order.Quantity, order.SKU); err != nil {
				return err // atomic.ErrInsufficient, in the same transaction
			}
			_, err = tx.ExecContext(ctx, tx.Rebind("UPDATE orders SET price = ? WHERE id = ?"), price, id)
			return err
		})
	if err != nil {
		return err
	}
	left, err := stock.Get(ctx, "sku-1")
	fmt.Println("order", id, "is priced,", left, "left")
	return err
}
