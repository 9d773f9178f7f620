package main

import "github.com/nogap-go/nogap/optimistic"

// combinedSeller sells as optimisticSeller does. The purchases that wait for the row anyway are decided one after another on
// one item, and written by one swap.
type combinedSeller struct {
	optimisticSeller
	hot *optimistic.Coalescer[versionedItem]
}

func openOptimisticCoalesced(s shop) (seller, error) {
	items, err := optimistic.NewTable[versionedItem](s.db, s.table, optimistic.LockAfter(2))
	if err != nil {
		return nil, err
	}
	hot := optimistic.Coalesce(items)
	return combinedSeller{optimisticSeller{hot}, hot}, nil
}

// Close is called when the server stops.
func (c combinedSeller) Close() error { return c.hot.Close() }
