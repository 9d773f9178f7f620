package main

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/atomic"
)

// atomicWallet takes the money in one statement, which is refused if there is not enough.
type atomicWallet struct {
	balance *atomic.Counter[int64]
}

func openAtomicWallet(s shop) (seller, error) {
	balance, err := atomic.NewCounter[int64](s.db, s.table, "balance")
	return atomicWallet{balance}, err
}

func (a atomicWallet) purchase(
	ctx context.Context, wallet int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	left, err = a.balance.Decrement(ctx, 1, wallet)
	if errors.Is(err, atomic.ErrInsufficient) {
		return 0, errNoMoney
	}
	return left, err
}
