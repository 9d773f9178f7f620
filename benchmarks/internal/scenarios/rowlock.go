//go:build unix

package scenarios

import (
	"context"

	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/pessimistic"
)

var rowLock = contest.Scenario{
	Name:       "row-lock",
	Task:       "Lock and read a row, decide in Go, write the row.",
	Places:     places.SQL,
	NewSubject: itemsOf(1),
	Ways: []contest.Way{
		{Name: "pessimistic.WithRowLock", Kind: contest.Nogap, Open: withRowLock},
		{Name: "SELECT FOR UPDATE", Kind: contest.ByHand, Open: selectForUpdate},
		{Name: "GORM clause.Locking", Kind: contest.Rival, Open: gormLocking},
		{Name: "bun For(UPDATE)", Kind: contest.Rival, Open: bunFor, On: on(nogap.Postgres, nogap.MySQL, nogap.MariaDB)},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenWrite},
	},
}

func withRowLock(_ context.Context, s *contest.Stage) (contest.Call, error) {
	write := bind(s, "UPDATE items SET stock = ? WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		return pessimistic.WithRowLock(ctx, s.DB, pessimistic.Row{Table: "items", Key: anyRow(s)},
			func(ctx context.Context, tx *sqlx.Tx, it *item) error {
				if it.Stock < 1 {
					return errSoldOut
				}
				_, err := tx.ExecContext(ctx, write, it.Stock-1, it.ID)
				return err
			})
	}, nil
}

func selectForUpdate(_ context.Context, s *contest.Stage) (contest.Call, error) {
	read := bind(s, "SELECT id, stock, version FROM items WHERE id = ?"+forUpdate(s))
	write := bind(s, "UPDATE items SET stock = ? WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		return inTx(ctx, s, nil, func(tx nogap.Tx) error {
			var it item
			if err := tx.QueryRowContext(ctx, read, anyRow(s)).Scan(&it.ID, &it.Stock, &it.Version); err != nil {
				return err
			}
			if it.Stock < 1 {
				return errSoldOut
			}
			_, err := tx.ExecContext(ctx, write, it.Stock-1, it.ID)
			return err
		})
	}, nil
}

// gormLocking locks nothing on SQLite, where GORM leaves the clause out.
func gormLocking(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db, err := openGORM(s)
	return func(ctx context.Context, _ int) error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			var it item
			if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&it, "id = ?", anyRow(s)).Error; err != nil {
				return err
			}
			if it.Stock < 1 {
				return errSoldOut
			}
			return tx.Model(&it).Update("stock", it.Stock-1).Error
		})
	}, err
}

func bunFor(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db := openBun(s)
	return func(ctx context.Context, _ int) error {
		return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			var it item
			if err := tx.NewSelect().Model(&it).Where("id = ?", anyRow(s)).For("UPDATE").Scan(ctx); err != nil {
				return err
			}
			if it.Stock < 1 {
				return errSoldOut
			}
			it.Stock--
			_, err := tx.NewUpdate().Model(&it).Column("stock").WherePK().Exec(ctx)
			return err
		})
	}, nil
}
