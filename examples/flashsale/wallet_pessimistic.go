package main

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/pessimistic"
)

// pessimisticWallet locks the wallet before it reads the balance.
type pessimisticWallet struct{ shop }

// balanceRow is what the seller reads of a wallet.
type balanceRow struct {
	Balance int64 `db:"balance"`
}

func openPessimisticWallet(s shop) (seller, error) { return pessimisticWallet{s}, nil }

func (p pessimisticWallet) purchase(
	ctx context.Context, wallet int64, check func(context.Context) error,
) (left int64, err error) {
	err = pessimistic.WithRowLock(ctx, p.db, pessimistic.Row{Table: p.table, Key: wallet},
		func(ctx context.Context, tx *sqlx.Tx, row *balanceRow) error {
			if row.Balance < 1 {
				return errNoMoney
			}
			if err := check(ctx); err != nil {
				return err
			}
			left = row.Balance - 1
			_, err := tx.ExecContext(ctx, p.rebind("UPDATE "+p.table+" SET balance = ? WHERE id = ?"), left, wallet)
			return err
		})
	if err != nil {
		return 0, err
	}
	return left, nil
}
