//go:build unix

package scenarios

import (
	"context"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/optimistic"
)

var version = contest.Scenario{
	Name:       "version",
	Task:       "Read a row, decide in Go, write it if its version is still the one that was read, else begin again.",
	Places:     places.SQL,
	NewSubject: itemsOf(1),
	Ways: []contest.Way{
		{Name: "optimistic.Modify", Kind: contest.Nogap, Open: modify},
		{Name: "optimistic.Coalesce", Kind: contest.Nogap, Open: combined},
		{Name: "compare-and-swap", Kind: contest.ByHand, Open: compareAndSwap},
		{Name: "GORM Where version", Kind: contest.Rival, Open: gormVersion},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenWrite},
	},
}

// take is the decision of a call.
func take(it *item) error {
	if it.Stock < 1 {
		return errSoldOut
	}
	it.Stock--
	return nil
}

func modify(_ context.Context, s *contest.Stage) (contest.Call, error) {
	table, err := optimistic.NewTable[item](s.DB, "items")
	return func(ctx context.Context, _ int) error {
		_, err := table.Modify(ctx, take, anyRow(s))
		return err
	}, err
}

func combined(_ context.Context, s *contest.Stage) (contest.Call, error) {
	table, err := optimistic.NewTable[item](s.DB, "items")
	if err != nil {
		return nil, err
	}
	hot := optimistic.Coalesce(table)
	return func(ctx context.Context, _ int) error {
		_, err := hot.Modify(ctx, take, anyRow(s))
		return err
	}, nil
}

func compareAndSwap(_ context.Context, s *contest.Stage) (contest.Call, error) {
	read := bind(s, "SELECT id, stock, version FROM items WHERE id = ?")
	write := bind(s, "UPDATE items SET stock = ?, version = ? WHERE id = ? AND version = ?")
	return func(ctx context.Context, _ int) error {
		id := anyRow(s)
		return again(ctx, func() (bool, error) {
			var it item
			if err := s.DB.QueryRowContext(ctx, read, id).Scan(&it.ID, &it.Stock, &it.Version); err != nil {
				return false, err
			}
			if err := take(&it); err != nil {
				return false, err
			}
			res, err := s.DB.ExecContext(ctx, write, it.Stock, it.Version+1, id, it.Version)
			if err != nil {
				return false, err
			}
			n, err := res.RowsAffected()
			return n == 1, err
		})
	}, nil
}

// gormVersion is what GORM's plugin optimisticlock writes; the caller repeats it, as the plugin's does.
func gormVersion(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db, err := openGORM(s)
	return func(ctx context.Context, _ int) error {
		id := anyRow(s)
		return again(ctx, func() (bool, error) {
			var it item
			if err := db.WithContext(ctx).First(&it, "id = ?", id).Error; err != nil {
				return false, err
			}
			if err := take(&it); err != nil {
				return false, err
			}
			res := db.WithContext(ctx).Model(&item{}).Where("id = ? AND version = ?", id, it.Version).
				Updates(map[string]any{"stock": it.Stock, "version": it.Version + 1})
			return res.RowsAffected == 1, res.Error
		})
	}, err
}
