package stack

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/examples/stack/sqlcpgx"
)

// sellInSqlcPgx has nogap and the code that sqlc generates for pgx/v5 in one transaction: it is one of a connection of
// database/sql, which lends its *pgx.Conn.
func sellInSqlcPgx(ctx context.Context, db *sql.DB, stock *atomic.Counter[int64], o Order) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	err = conn.Raw(func(driverConn any) error { // in here don't use tx, which would wait for the end of Raw
		queries := sqlcpgx.New(driverConn.(*stdlib.Conn).Conn())
		return queries.CreateOrder(ctx, sqlcpgx.CreateOrderParams{ID: o.ID, Sku: o.SKU, Quantity: o.Quantity})
	})
	if err != nil {
		return err
	}
	if _, err := stock.WithTx(tx).Decrement(ctx, o.Quantity, o.SKU); err != nil {
		return err
	}
	return tx.Commit()
}
