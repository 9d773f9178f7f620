package stack

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/examples/stack/sqlcsql"
	"github.com/nogap-go/nogap/transaction"
)

// sellWithSqlc has the code that sqlc generates for database/sql in the transaction of nogap.
func sellWithSqlc(ctx context.Context, db *sql.DB, stock *atomic.Counter[int64], o Order) error {
	return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
		err := sqlcsql.New(tx).CreateOrder(ctx, sqlcsql.CreateOrderParams{ID: o.ID, Sku: o.SKU, Quantity: o.Quantity})
		if err != nil {
			return err
		}
		_, err = stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU)
		return err
	})
}

// sellInSqlc is the other way round: a transaction of your own.
func sellInSqlc(ctx context.Context, db *sql.DB, stock *atomic.Counter[int64], o Order) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	err = sqlcsql.New(db).WithTx(tx).CreateOrder(ctx, sqlcsql.CreateOrderParams{ID: o.ID, Sku: o.SKU, Quantity: o.Quantity})
	if err != nil {
		return err
	}
	if _, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU); err != nil {
		return err
	}
	return tx.Commit()
}
