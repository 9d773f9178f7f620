//go:build unix

// Package racetest_test measures how fast racetest plays schedules, how soon it finds a lost update, and what pruning saves:
//
//	go test -C benchmarks -run '^$' -bench . ./racetest
package racetest_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/racetest"
)

func TestMain(m *testing.M) { servers.Main(m) }

// targets are the ones that the numbers are told for.
func targets() []matrix.Target { return []matrix.Target{matrix.SQLite()[0], matrix.Postgres()[0]} }

// config has two clients that each do run to a row.
func config(b *testing.B, target matrix.Target, rows [2]int, run func(ctx context.Context, db *sqlx.DB, row int) error) explore.Config {
	dsn := target.DSN(b)
	_, err := target.Connect(b, dsn).Exec("CREATE TABLE items (id INT PRIMARY KEY, stock INT NOT NULL)")
	require.NoError(b, err)
	cfg := explore.Config{
		Connector: racetest.Open(target.Driver, dsn),
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "DELETE FROM items")
			if err == nil {
				_, err = db.ExecContext(ctx, "INSERT INTO items VALUES (1, 10), (2, 10)")
			}
			return err
		},
		MaxSchedules: 5000, Budget: time.Minute,
	}
	for i, row := range rows {
		cfg.Clients = append(cfg.Clients, explore.Client{Name: fmt.Sprint("client", i), Run: func(ctx context.Context, db *sql.DB) error {
			return run(ctx, sqlx.NewDb(db, target.Driver), row)
		}})
	}
	return cfg
}

// inTx reads and writes a row in a transaction: four statements.
func inTx(ctx context.Context, db *sqlx.DB, row int) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var stock int
	if err := tx.GetContext(ctx, &stock, tx.Rebind("SELECT stock FROM items WHERE id = ?"), row); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = stock - 1 WHERE id = ?"), row); err != nil {
		return err
	}
	return tx.Commit()
}

// lost reads and writes a row outside transactions.
func lost(ctx context.Context, db *sqlx.DB, row int) error {
	var stock int
	if err := db.GetContext(ctx, &stock, db.Rebind("SELECT stock FROM items WHERE id = ?"), row); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, db.Rebind("UPDATE items SET stock = ? WHERE id = ?"), stock-1, row)
	return err
}

// All orders of two clients with four statements each, and only what is played without Every, to have each class. There are 70 orders of
// different rows, where nobody waits, and fewer of one row, where a client that waits can't go on.
func BenchmarkOrders(b *testing.B) {
	for _, bench := range []struct {
		name  string
		rows  [2]int
		every bool
	}{
		{"two rows/every", [2]int{1, 2}, true}, {"two rows/classes", [2]int{1, 2}, false},
		{"one row/every", [2]int{1, 1}, true}, {"one row/classes", [2]int{1, 1}, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := config(b, matrix.Postgres()[0], bench.rows, inTx)
			cfg.Every = bench.every
			schedules := 0
			for b.Loop() {
				r, err := explore.Run(b.Context(), cfg)
				require.NoError(b, err)
				require.Nil(b, r.Failure)
				require.True(b, r.Complete)
				schedules = r.Schedules
				b.ReportMetric(float64(r.Classes), "classes")
			}
			b.ReportMetric(float64(schedules), "schedules")
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*schedules), "ms/schedule")
		})
	}
}

// A lost update, from the beginning to the failure that was played again three times.
func BenchmarkLostUpdate(b *testing.B) {
	for _, target := range targets() {
		b.Run(target.Name, func(b *testing.B) {
			cfg := config(b, target, [2]int{1, 1}, lost)
			for b.Loop() {
				r, err := explore.Run(b.Context(), cfg)
				require.NoError(b, err)
				require.NotNil(b, r.Failure)
				b.ReportMetric(float64(r.Failure.Number), "schedules")
			}
		})
	}
}
