package stack

import (
	"context"
	"database/sql"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

// openEnt returns the driver of ent on a *sql.DB that nogap uses too: ent.NewClient(ent.Driver(driver)).
func openEnt(db *sql.DB) dialect.Driver {
	return entsql.OpenDB(dialect.SQLite, db)
}

// entIn is the driver of ent in a transaction that somebody else has begun and will commit.
type entIn struct{ *entsql.Driver }

func newEntIn(name string, tx entsql.ExecQuerier) entIn {
	return entIn{entsql.NewDriver(name, entsql.Conn{ExecQuerier: tx})}
}

// Tx is what ent calls for a write of several statements. They are in a transaction already.
func (d entIn) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d), nil }

// BeginTx is what Client.BeginTx of ent calls.
func (d entIn) BeginTx(ctx context.Context, _ *entsql.TxOptions) (dialect.Tx, error) {
	return d.Tx(ctx)
}

// Close leaves the transaction open.
func (d entIn) Close() error { return nil }

// sellWithEnt has ent in the transaction of nogap. create stands for what the generated client does:
//
//	ent.NewClient(ent.Driver(driver)).Order.Create().SetSku(o.SKU).SetQuantity(o.Quantity).Exec(ctx)
func sellWithEnt(ctx context.Context, db *sql.DB, stock *atomic.Counter[int64], o Order,
	create func(context.Context, dialect.Driver, Order) error) error {
	return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
		driver := newEntIn(dialect.SQLite, tx)
		if err := create(ctx, driver, o); err != nil {
			return err
		}
		_, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU)
		return err
	})
}
