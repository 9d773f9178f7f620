package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
)

// idempotentWallet takes the money once for each payment. A client sends the payment's key again with each try, and gets the
// receipt of the first; here there is one payment for each wallet.
type idempotentWallet struct {
	balance  *atomic.Counter[int64]
	payments *idempotency.Store[receipt]
}

// receipt is what a payment answers, however often it is asked for.
type receipt struct {
	Left int64 `json:"left"`
}

func openIdempotentWallet(s shop) (seller, error) {
	balance, err := atomic.NewCounter[int64](s.db, s.table, "balance")
	if err != nil {
		return nil, err
	}
	payments, err := idempotency.New[receipt](s.db, s.keys())
	return idempotentWallet{balance, payments}, err
}

func (i idempotentWallet) purchase(
	ctx context.Context, wallet int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil { // not in the callback: what other services do is not rolled back
		return 0, err
	}
	paid, replayed, err := i.payments.Do(ctx, fmt.Sprintf("wallet %d", wallet),
		func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			left, err := i.balance.WithTx(tx).Decrement(ctx, 1, wallet)
			return receipt{Left: left}, err
		})
	switch {
	case errors.Is(err, atomic.ErrInsufficient):
		return 0, errNoMoney
	case err != nil:
		return 0, err
	case replayed: // a shop would answer with the receipt; this one counts who has paid
		return 0, errPaid
	}
	return paid.Left, nil
}
