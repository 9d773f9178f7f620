package stack

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

func newSqlxStock(db *sqlx.DB) (*atomic.Counter[int64], error) {
	return atomic.NewCounter[int64](db.DB, "items", "stock") // the *sql.DB in it
}

// sellWithSqlx needs nothing in between: the transaction of a callback is a *sqlx.Tx.
func sellWithSqlx(ctx context.Context, db *sqlx.DB, stock *atomic.Counter[int64], o Order) error {
	return transaction.Run(ctx, db.DB, func(ctx context.Context, tx *sqlx.Tx) error {
		if _, err := tx.NamedExecContext(ctx, "INSERT INTO orders (id, sku, quantity) VALUES (:id, :sku, :quantity)", o); err != nil {
			return err
		}
		_, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU)
		return err
	})
}

// sellInSqlx is the other way round: a transaction of your own.
func sellInSqlx(ctx context.Context, db *sqlx.DB, stock *atomic.Counter[int64], o Order) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.NamedExecContext(ctx, "INSERT INTO orders (id, sku, quantity) VALUES (:id, :sku, :quantity)", o); err != nil {
		return err
	}
	if _, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU); err != nil {
		return err
	}
	return tx.Commit()
}
