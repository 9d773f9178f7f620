package main

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/atomic"
)

// coalescedSeller makes one statement out of the purchases that wait for the row anyway.
type coalescedSeller struct {
	hot *atomic.Coalescer[int64]
}

func openCoalesced(s shop) (seller, error) {
	stock, err := atomic.NewCounter[int64](s.db, s.table, "stock")
	if err != nil {
		return nil, err
	}
	return coalescedSeller{atomic.Coalesce(stock)}, nil
}

func (c coalescedSeller) purchase(
	ctx context.Context, item int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	left, err = c.hot.DecrementIfPositive(ctx, item)
	if errors.Is(err, atomic.ErrInsufficient) {
		return 0, errSoldOut
	}
	return left, err
}

// Close is called when the server stops.
func (c coalescedSeller) Close() error { return c.hot.Close() }
