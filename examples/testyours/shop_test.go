package testyours

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/racetest"
	"github.com/nogap-go/nogap/transaction"
)

// database is an SQLite file of this test, or the database of PostgreSQL that SHOP_DSN names, which is for tests alone.
func database(t *testing.T) (driver, dsn string) {
	if dsn := os.Getenv("SHOP_DSN"); dsn != "" {
		return "pgx", dsn
	}
	return "sqlite", "file:" + filepath.Join(t.TempDir(), "shop.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}

// open returns a shop with 10 pens and 10 books, and the address of its database.
func open(t *testing.T) (s *shop, driver, dsn string) {
	t.Helper()
	driver, dsn = database(t)
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, exec(t.Context(), db, "DROP TABLE IF EXISTS items", "DROP TABLE IF EXISTS sales"))
	require.NoError(t, exec(t.Context(), db, schema...))
	require.NoError(t, stockUp(t.Context(), db, 10))
	s, err = newShop(db)
	require.NoError(t, err)
	return s, driver, dsn
}

func stockUp(ctx context.Context, db *sql.DB, n int) error {
	return exec(ctx, db, "DELETE FROM items", "DELETE FROM sales",
		fmt.Sprintf("INSERT INTO items VALUES ('pen', 3, %d), ('book', 20, %[1]d)", n))
}

func exec(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// requireBooks tests what must hold at any time.
func requireBooks(t *testing.T, s *shop, sold int) {
	t.Helper()
	for _, item := range []string{"pen", "book"} {
		left, err := s.stock.Get(t.Context(), item)
		require.NoError(t, err)
		require.EqualValues(t, 10-sold, left)
	}
	var sales int
	require.NoError(t, s.db.QueryRow("SELECT COUNT(*) FROM sales").Scan(&sales))
	require.Equal(t, 2*sold, sales)
}

// One customer at a time: the rules.
func TestBuy(t *testing.T) {
	s, _, _ := open(t)
	b, err := s.buy(t.Context(), "ann", "pen", "book")
	require.NoError(t, err)
	require.Equal(t, []int64{3, 20}, b.prices)
	_, err = s.buy(t.Context(), "ann", "pen", "car")
	require.ErrorIs(t, err, sql.ErrNoRows)
	requireBooks(t, s, 1)
}

// Two customers for the last pen, in the orders in which their statements can meet.
func TestLastPen(t *testing.T) {
	_, driver, dsn := open(t)
	customer := func(name string, items ...string) racetest.Client {
		return racetest.Client{Name: name, Run: func(ctx context.Context, db *sql.DB) error {
			s, err := newShop(db)
			if err != nil {
				return err
			}
			_, err = s.buy(ctx, name, items...)
			return err
		}}
	}
	racetest.Explore(t, racetest.Scenario{
		Open:         racetest.Open(driver, dsn),
		Setup:        func(ctx context.Context, db *sql.DB) error { return stockUp(ctx, db, 1) },
		Clients:      []racetest.Client{customer("ann", "pen", "book"), customer("bob", "pen")},
		MaxSchedules: 20,
	})
}

// Many customers at once: the books are right, and nobody fails but for want of stock.
func TestManyCustomers(t *testing.T) {
	s, _, _ := open(t)
	errs := make([]error, 30)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			items := []string{"pen", "book"}
			if i%2 == 0 {
				items = []string{"book", "pen"}
			}
			_, errs[i] = s.buy(t.Context(), fmt.Sprint("customer ", i), items...)
		})
	}
	wg.Wait()
	sold := 0
	for _, err := range errs {
		if err == nil {
			sold++
		} else {
			require.ErrorIs(t, err, atomic.ErrInsufficient)
		}
	}
	require.Equal(t, 10, sold)
	requireBooks(t, s, sold)
}

// undone is what PostgreSQL says when it has undone a transaction. Any error with this SQLState is run again.
type undone struct{ error }

func (undone) SQLState() string { return "40001" }

// What is run again does not do things twice, in the database or in Go.
func TestRunAgain(t *testing.T) {
	s, _, _ := open(t)
	var b bill
	runs := 0
	err := transaction.Run(t.Context(), s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		runs++
		err := s.buyIn(ctx, tx, &b, "ann", "pen", "book")
		if err == nil && runs == 1 {
			err = undone{errors.New("could not serialize access")}
		}
		return err
	})
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	require.Equal(t, []int64{3, 20}, b.prices)
	requireBooks(t, s, 1)
}
