package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

func allOrNone(ctx context.Context, db *sql.DB) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		return err
	}
	wallet, err := atomic.NewCounter[int64](db, "wallets", "balance")
	if err != nil {
		return err
	}
	status, err := atomic.NewState[string](db, "orders", "status")
	if err != nil {
		return err
	}
	cart := []atomic.Item[int64]{{Key: atomic.Key{"sku-2"}, N: 1}}
	total, buyer, id := int64(450), "alice", 7

	err = transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
		if err := status.WithTx(tx).Transition(ctx, "pending", "paid", id); err != nil {
			return err // an order that is sent twice is paid once
		}
		if err := stock.WithTx(tx).DecrementAll(ctx, cart); err != nil {
			return err // rolls back
		}
		_, err := wallet.WithTx(tx).Decrement(ctx, total, buyer)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("order", id, "is paid")
	return nil
}

// invoice writes an invoice. Its number follows the last one, without a gap.
func invoice(ctx context.Context, db *sql.DB, series, customer string) error {
	numbers, err := atomic.NewCounter[int64](db, "invoice_numbers", "last", atomic.WithKey("series"), atomic.CreateMissing())
	if err != nil {
		return err
	}
	var n int64
	err = transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) (err error) {
		// What else belongs to the transaction comes first.
		n, err = numbers.WithTx(tx).Increment(ctx, 1, series) // "2026-11"
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, tx.Rebind("INSERT INTO invoices (series, n, customer) VALUES (?, ?, ?)"), series, n, customer)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("invoice", n, "for", customer)
	return nil
}
