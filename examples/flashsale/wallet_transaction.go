package main

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

// transactionWallet takes the money and writes the payment down. One is not there without the other.
type transactionWallet struct {
	shop
	balance *atomic.Counter[int64]
}

func openTransactionWallet(s shop) (seller, error) {
	balance, err := atomic.NewCounter[int64](s.db, s.table, "balance")
	return transactionWallet{s, balance}, err
}

func (t transactionWallet) purchase(
	ctx context.Context, wallet int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil { // not in the callback, which may be called again
		return 0, err
	}
	payment := rand.Text()
	err = transaction.Run(ctx, t.db, func(ctx context.Context, tx *sqlx.Tx) error {
		var err error
		if left, err = t.balance.WithTx(tx).Decrement(ctx, 1, wallet); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, t.rebind("INSERT INTO "+t.payments()+" (id, wallet) VALUES (?, ?)"), payment, wallet)
		return err
	})
	switch {
	case errors.Is(err, atomic.ErrInsufficient):
		return 0, errNoMoney
	case err != nil:
		return 0, err
	}
	return left, nil
}
