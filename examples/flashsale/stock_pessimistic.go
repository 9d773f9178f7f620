package main

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/pessimistic"
)

// pessimisticSeller locks the row before it reads it, so nobody else decides from the same stock.
type pessimisticSeller struct {
	shop
	write string
}

// stockRow is what the seller reads of a row.
type stockRow struct {
	Stock int64 `db:"stock"`
}

func openPessimistic(s shop) (seller, error) {
	return pessimisticSeller{s, s.rebind("UPDATE " + s.table + " SET stock = ? WHERE id = ?")}, nil
}

func (p pessimisticSeller) purchase(
	ctx context.Context, item int64, check func(context.Context) error,
) (left int64, err error) {
	err = pessimistic.WithRowLock(ctx, p.db, pessimistic.Row{Table: p.table, Key: item},
		func(ctx context.Context, tx *sqlx.Tx, row *stockRow) error {
			if row.Stock < 1 {
				return errSoldOut
			}
			if err := check(ctx); err != nil {
				return err
			}
			left = row.Stock - 1
			_, err := tx.ExecContext(ctx, p.write, left, item)
			return err
		})
	if err != nil {
		return 0, err
	}
	return left, nil
}
