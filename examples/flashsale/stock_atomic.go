package main

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/atomic"
)

// atomicSeller reads, decides and writes in one guarded statement, which leaves no gap between them.
type atomicSeller struct {
	stock *atomic.Counter[int64]
}

func openAtomic(s shop) (seller, error) {
	stock, err := atomic.NewCounter[int64](s.db, s.table, "stock")
	return atomicSeller{stock}, err
}

func (a atomicSeller) purchase(
	ctx context.Context, item int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	left, err = a.stock.DecrementIfPositive(ctx, item)
	if errors.Is(err, atomic.ErrInsufficient) {
		return 0, errSoldOut
	}
	return left, err
}
