package main

import (
	"context"

	"github.com/nogap-go/nogap/optimistic"
)

// optimisticWallet writes the balance only if the wallet still has the version that was read.
type optimisticWallet struct {
	wallets *optimistic.Table[versionedWallet]
}

type versionedWallet struct {
	ID      int64 `db:"id"`
	Balance int64 `db:"balance"`
	Version int64 `db:"version"`
}

func openOptimisticWallet(s shop) (seller, error) {
	wallets, err := optimistic.NewTable[versionedWallet](s.db, s.table)
	return optimisticWallet{wallets}, err
}

func (o optimisticWallet) purchase(
	ctx context.Context, wallet int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil { // not in the callback, which may be called again
		return 0, err
	}
	paid, err := o.wallets.Modify(ctx, func(w *versionedWallet) error {
		if w.Balance < 1 {
			return errNoMoney
		}
		w.Balance--
		return nil
	}, wallet)
	if err != nil {
		return 0, err
	}
	return paid.Balance, nil
}
