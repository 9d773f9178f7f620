package stack

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
	"gorm.io/gorm"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

func newGORMStock(g *gorm.DB) (*sql.DB, *atomic.Counter[int64], error) {
	db, err := g.DB() // GORM's own *sql.DB
	if err != nil {
		return nil, nil, err
	}
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	return db, stock, err
}

// sellWithGORM has GORM in the transaction of nogap, which is run again when the server has undone it.
func sellWithGORM(ctx context.Context, g *gorm.DB, db *sql.DB, stock *atomic.Counter[int64], o Order) error {
	return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
		row := o // this function may run more than once, and Create fills in what the server makes
		if err := gormIn(ctx, g, tx.Tx).Create(&row).Error; err != nil {
			return err
		}
		_, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU)
		return err
	})
}

// gormIn returns a GORM that sends everything through tx, and neither commits nor rolls it back.
func gormIn(ctx context.Context, g *gorm.DB, tx *sql.Tx) *gorm.DB {
	inTx := g.Session(&gorm.Session{NewDB: true, Context: ctx})
	inTx.Statement.ConnPool = tx
	return inTx
}

// sellInGORM has nogap in the transaction of GORM.
func sellInGORM(ctx context.Context, g *gorm.DB, stock *atomic.Counter[int64], o Order) error {
	return g.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&o).Error; err != nil {
			return err
		}
		_, err := stock.WithTx(tx.Statement.ConnPool).Decrement(ctx, o.Quantity, o.SKU)
		return err // rolls back
	})
}
