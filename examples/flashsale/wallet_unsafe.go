package main

import "context"

// unsafeWallet reads the balance, decides, and writes back what it computed. Requests that read in between spend the same
// money.
type unsafeWallet struct{ shop }

func openUnsafeWallet(s shop) (seller, error) { return unsafeWallet{s}, nil }

func (u unsafeWallet) purchase(
	ctx context.Context, wallet int64, check func(context.Context) error,
) (left int64, err error) {
	balance, err := u.number(ctx, "SELECT balance FROM "+u.table+" WHERE id = ?", wallet)
	if err != nil {
		return 0, err
	}
	if balance < 1 {
		return 0, errNoMoney
	}
	if err := check(ctx); err != nil {
		return 0, err
	}
	left = balance - 1
	return left, u.exec(ctx, "UPDATE "+u.table+" SET balance = ? WHERE id = ?", left, wallet)
}
