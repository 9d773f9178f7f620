package main

import (
	"context"

	"github.com/nogap-go/nogap/optimistic"
)

// optimisticSeller reads, decides and writes, and the database takes the write only if nobody else's came in between.
type optimisticSeller struct {
	items modifier
}

// modifier is what a Table and a Coalescer have in common.
type modifier interface {
	Modify(ctx context.Context, fn func(*versionedItem) error, key ...any) (*versionedItem, error)
}

type versionedItem struct {
	ID      int64 `db:"id"`
	Stock   int64 `db:"stock"`
	Version int64 `db:"version"`
}

func openOptimistic(s shop) (seller, error) {
	// The buyers of one server queue for the item by themselves; the row lock does so for the servers.
	items, err := optimistic.NewTable[versionedItem](s.db, s.table, optimistic.LockAfter(2))
	return optimisticSeller{items}, err
}

func (o optimisticSeller) purchase(
	ctx context.Context, item int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil { // not in the callback, which may be called again
		return 0, err
	}
	sold, err := o.items.Modify(ctx, func(it *versionedItem) error {
		if it.Stock == 0 {
			return errSoldOut
		}
		it.Stock--
		return nil
	}, item)
	if err != nil {
		return 0, err
	}
	return sold.Stock, nil
}
