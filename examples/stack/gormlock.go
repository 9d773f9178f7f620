package stack

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/nogap-go/nogap/pessimistic"
)

// Item is a row of items.
type Item struct {
	ID    string `db:"id" gorm:"primaryKey"`
	Stock int64  `db:"stock"`
}

// readUnlocked locks nothing: GORM v2 does not know the setting, which was GORM v1's, and sends a plain SELECT.
func readUnlocked(tx *gorm.DB, id string) (item Item, err error) {
	err = tx.Set("gorm:query_option", "FOR UPDATE").First(&item, "id = ?", id).Error
	return item, err
}

// readLocked is GORM v2's own.
func readLocked(tx *gorm.DB, id string) (item Item, err error) {
	err = tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&item, "id = ?", id).Error
	return item, err
}

// readLockedByNogap says so if the server can't lock, and takes pessimistic.NoWait and pessimistic.Timeout.
func readLockedByNogap(ctx context.Context, tx *gorm.DB, id string) (*Item, error) {
	return pessimistic.LockRow[Item](ctx, tx.Statement.ConnPool, pessimistic.Row{Table: "items", Key: id})
}

// sellLocked has nogap lock the row, and run all of it again after a deadlock.
func sellLocked(ctx context.Context, g *gorm.DB, db *sql.DB, o Order) error {
	return pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: o.SKU},
		func(ctx context.Context, tx *sqlx.Tx, item *Item) error {
			if item.Stock < o.Quantity {
				return errSoldOut
			}
			item.Stock -= o.Quantity
			inTx := gormIn(ctx, g, tx.Tx)
			if err := inTx.Save(item).Error; err != nil {
				return err
			}
			row := o // this function may run more than once, and Create fills in what the server makes
			return inTx.Create(&row).Error
		})
}
