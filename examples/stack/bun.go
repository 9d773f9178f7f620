package stack

import (
	"context"

	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

func newBunStock(b *bun.DB) (*atomic.Counter[int64], error) {
	return atomic.NewCounter[int64](b.DB, "items", "stock") // the *sql.DB in it
}

// sellWithBun has bun in the transaction of nogap, which is run again when the server has undone it.
func sellWithBun(ctx context.Context, b *bun.DB, stock *atomic.Counter[int64], o Order) error {
	return transaction.Run(ctx, b.DB, func(ctx context.Context, tx *sqlx.Tx) error {
		if _, err := b.NewInsert().Conn(tx).Model(&o).Exec(ctx); err != nil {
			return err
		}
		_, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU)
		return err
	})
}

// sellInBun has nogap in the transaction of bun: the *sql.Tx that a bun.Tx embeds, since bun.Tx itself rewrites placeholders.
func sellInBun(ctx context.Context, b *bun.DB, stock *atomic.Counter[int64], o Order) error {
	return b.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&o).Exec(ctx); err != nil {
			return err
		}
		_, err := stock.WithTx(tx.Tx).Decrement(ctx, o.Quantity, o.SKU)
		return err
	})
}
