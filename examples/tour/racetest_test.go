package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/racetest"
)

// buy is the code under test. It gets a pool of its own.
func buy(ctx context.Context, db *sql.DB) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		return err
	}
	if _, err = stock.DecrementIfPositive(ctx, "sku-1"); errors.Is(err, atomic.ErrInsufficient) {
		return errSoldOut
	}
	return err
}

func TestBuy(t *testing.T) {
	dsn := newDatabase(t) // a test database, in which nobody else writes
	racetest.Explore(t, racetest.Scenario{
		Open: racetest.Open("sqlite", dsn), // the driver that you have, or any driver.Connector
		Setup: func(ctx context.Context, db *sql.DB) error { // before every schedule: DELETE, INSERT, UPDATE
			_, err := db.ExecContext(ctx, "UPDATE items SET stock = 1 WHERE id = 'sku-1'")
			return err
		},
		Clients: []racetest.Client{{Name: "alice", Run: buy}, {Name: "bob", Run: buy}}, // buy(ctx, db) is the code under test
	})
}

func newDatabase(t *testing.T) (dsn string) {
	file := filepath.Join(t.TempDir(), "shop.db")
	db, err := open(t.Context(), file)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return "file:" + file + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}
