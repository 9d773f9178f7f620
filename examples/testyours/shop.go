// Package testyours is a small service and its tests, to copy. docs/testing.md explains them.
package testyours

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

// schema works on PostgreSQL, MariaDB, MySQL and SQLite.
var schema = []string{
	"CREATE TABLE items (id varchar(40) PRIMARY KEY, price bigint NOT NULL, stock bigint NOT NULL)",
	"CREATE TABLE sales (customer varchar(40) NOT NULL, item varchar(40) NOT NULL, price bigint NOT NULL)",
}

type shop struct {
	db    *sql.DB
	stock *atomic.Counter[int64]
}

func newShop(db *sql.DB) (*shop, error) {
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	return &shop{db, stock}, err
}

// buy sells a customer one piece of each item, or nothing.
func (s *shop) buy(ctx context.Context, customer string, items ...string) (b bill, err error) {
	err = transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		return s.buyIn(ctx, tx, &b, customer, items...)
	})
	if err != nil {
		return bill{}, err
	}
	return b, nil
}

type bill struct{ prices []int64 }

// buyIn may run more than once, so it begins the bill anew.
func (s *shop) buyIn(ctx context.Context, tx *sqlx.Tx, b *bill, customer string, items ...string) error {
	*b = bill{}
	for _, item := range items {
		var price int64
		if err := tx.GetContext(ctx, &price, tx.Rebind("SELECT price FROM items WHERE id = ?"), item); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO sales (customer, item, price) VALUES (?, ?, ?)"), customer, item, price)
		if err != nil {
			return err
		}
		b.prices = append(b.prices, price)
	}
	var cart []atomic.Item[int64]
	for _, item := range items {
		cart = append(cart, atomic.Item[int64]{Key: atomic.Key{item}, N: 1})
	}
	return s.stock.WithTx(tx).DecrementAll(ctx, cart)
}
