//go:build unix

package scenarios

import (
	"context"
	"slices"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

var cart = contest.Scenario{
	Name:       "cart",
	Task:       "Take one from each of three rows, or from none of them.",
	Places:     places.SomeSQL,
	NewSubject: itemsOf(3),
	Ways: []contest.Way{
		{Name: "atomic.DecrementAll", Kind: contest.Nogap, Open: decrementAll},
		{Name: "BEGIN, in order", Kind: contest.ByHand, Open: threeInOrder},
	},
}

// threeRows returns the ids of three different rows.
func threeRows(s *contest.Stage) []int64 {
	a, b := twoRows(s)
	for {
		if c := anyRow(s); c != a && c != b {
			return []int64{a, b, c}
		}
	}
}

func decrementAll(_ context.Context, s *contest.Stage) (contest.Call, error) {
	c, err := atomic.NewCounter[int64](s.DB, "items", "stock")
	return func(ctx context.Context, _ int) error {
		var wanted []atomic.Item[int64]
		for _, id := range threeRows(s) {
			wanted = append(wanted, atomic.Item[int64]{Key: atomic.Key{id}, N: 1})
		}
		return c.DecrementAll(ctx, wanted)
	}, err
}

func threeInOrder(_ context.Context, s *contest.Stage) (contest.Call, error) {
	update := bind(s, takeOne)
	return func(ctx context.Context, _ int) error {
		ids := threeRows(s)
		slices.Sort(ids)
		return inTx(ctx, s, nil, func(tx nogap.Tx) error {
			for _, id := range ids {
				if err := changeOne(ctx, tx, update, id); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil
}
