//go:build unix

// Package pessimistic_test compares package pessimistic with the same transactions written by hand.
package pessimistic_test

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/benchmarks/pair"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/pessimistic"
)

func TestMain(m *testing.M) { servers.Main(m) }

type item struct {
	ID    int64 `db:"id"`
	Stock int64 `db:"stock"`
}

const update = "UPDATE items SET stock = $1 WHERE id = $2"

var schema = []string{"CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)", "INSERT INTO items VALUES (1, 1000000)"}

var rowLock = pair.Pair{ByHand: byHand, Nogap: withRowLock, Name: "WithRowLock"}

// byHand is the transaction as one would write it: lock and read the row, decide, write it.
func byHand(ctx context.Context, db *sqlx.DB) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var it item
	if err := tx.GetContext(ctx, &it, "SELECT * FROM items WHERE id = $1 FOR UPDATE", 1); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, update, it.Stock-1, it.ID); err != nil {
		return err
	}
	return tx.Commit()
}

func withRowLock(ctx context.Context, db *sqlx.DB) error {
	return pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: "items", Key: 1},
		func(ctx context.Context, tx *sqlx.Tx, it *item) error {
			_, err := tx.ExecContext(ctx, update, it.Stock-1, it.ID)
			return err
		})
}

// One caller: what does WithRowLock cost?
func BenchmarkOneCaller(b *testing.B) { pair.Each(b, schema, rowLock.OneCaller) }

// 500 callers want one row.
func BenchmarkHotRow(b *testing.B) {
	pair.Each(b, schema, func(b *testing.B, db *sqlx.DB) { rowLock.Crowd(b, db, 500) })
}
