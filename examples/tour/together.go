package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

// Item is a row of items.
type Item struct {
	ID      string `db:"id"`
	Name    string `db:"name"`
	Price   int64  `db:"price"`
	Stock   int64  `db:"stock"`
	Version int64  `db:"version"`
}

// together lets three packages write one table: whoever writes a column that a Table writes, too, counts the version up.
func together(ctx context.Context, db *sql.DB) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version")) // State and Coalesce, too
	if err != nil {
		return err
	}
	items, err := optimistic.NewTable[Item](db, "items")
	if err != nil {
		return err
	}
	item, err := items.Get(ctx, "sku-1") // an editor reads, and thinks
	if err != nil {
		return err
	}

	if _, err := stock.Increment(ctx, 100, item.ID); err != nil {
		return err
	}
	err = pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: item.ID},
		func(ctx context.Context, tx *sqlx.Tx, item *Item) error {
			if item.Stock < 60 {
				return errSoldOut
			}
			_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = ?, version = version + 1 WHERE id = ?"), item.Stock-60, item.ID)
			return err
		})
	if err != nil {
		return err
	}

	item.Name = "fountain pen"
	err = items.Update(ctx, item)
	fmt.Println("the editor has to read again:", errors.Is(err, optimistic.ErrVersionConflict))
	return nil
}
