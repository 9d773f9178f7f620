//go:build unix

package together_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// namesBothWaysOut checks an error of something made second.
func namesBothWaysOut(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, `atomic.VersionColumn("version")`)
	require.ErrorContains(t, err, `optimistic.ReadOnly(`)
}

func TestWhatIsMadeSecondIsRefused(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		t.Run("Counter first", func(t *testing.T) {
			db := items(t, target)
			stock := counter(t, db)
			_, err := optimistic.NewTable[Item](db, "items")
			namesBothWaysOut(t, err)
			_, err = stock.Decrement(t.Context(), 60, "pen")
			require.NoError(t, err, "what worked before goes on working")
			_, err = optimistic.NewTable[Item](db, "items", optimistic.ReadOnly("stock"))
			require.NoError(t, err)
		})
		t.Run("State first", func(t *testing.T) {
			db := items(t, target)
			state(t, db)
			_, err := optimistic.NewTable[Item](db, "items")
			namesBothWaysOut(t, err)
		})
		t.Run("Table first", func(t *testing.T) {
			db := items(t, target)
			table := editor(t, db)
			_, err := atomic.NewCounter[int64](db, "items", "stock")
			namesBothWaysOut(t, err)
			_, err = atomic.NewState[string](db, "items", "status")
			namesBothWaysOut(t, err)
			_, err = atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("revision"))
			namesBothWaysOut(t, err)
			_, err = table.Modify(t.Context(), func(it *Item) error { it.Stock--; return nil }, "pen")
			require.NoError(t, err, "what worked before goes on working")
			counter(t, db, counted)
			state(t, db, counted)
		})
	})
}

// Only the server knows that two names are of one table, so what is made second is refused by its first use.
func TestTwoSpellingsOfOneTable(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for name, same := range spellings(t, target) {
			for _, counterFirst := range []bool{true, false} {
				t.Run(name+map[bool]string{true: ", Counter first", false: ", Table first"}[counterFirst], func(t *testing.T) {
					db := items(t, target)
					if target.Dialect == nogap.Postgres {
						exec(t, db, `CREATE TABLE "Items" (id VARCHAR(40) PRIMARY KEY, stock BIGINT, version BIGINT)`)
						exec(t, db, `INSERT INTO "Items" VALUES ('pen', 100, 7)`)
					}
					name := strings.Replace(name, "current.", database(t, db, target)+".", 1)
					tableName, counterName := "items", name
					if counterFirst {
						tableName, counterName = name, "items"
					}
					first, second := uses(t, db, tableName, counterName, counterFirst)
					require.NoError(t, first())
					for range 2 {
						if err := second(); same {
							namesBothWaysOut(t, err)
						} else {
							require.NoError(t, err)
						}
					}
					require.NoError(t, first(), "what worked before goes on working")
				})
			}
		}
	})
}

// Names of columns compare without regard to case on MySQL, MariaDB and SQLite, which only the first use knows.
func TestTwoSpellingsOfOneColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target)
		editor(t, db)
		stock, err := atomic.NewCounter[int64](db, "items", "Stock")
		require.NoError(t, err)
		_, err = stock.Decrement(t.Context(), 60, "pen")
		if target.Dialect == nogap.Postgres {
			require.ErrorContains(t, err, "does not exist", "it is another column")
		} else {
			namesBothWaysOut(t, err)
		}
		left, _ := row(t, db)
		require.EqualValues(t, 100, left)
	})
}

// spellings returns other names, and whether they are of the table items.
func spellings(t *testing.T, target matrix.Target) map[string]bool {
	switch target.Dialect {
	case nogap.Postgres:
		return map[string]bool{"public.items": true, "current.public.items": true, "Items": false, "public.Items": false}
	case nogap.SQLite:
		return map[string]bool{"main.items": true, "ITEMS": true, "Main.Items": true}
	}
	return map[string]bool{"current.items": true}
}

func database(t *testing.T, db *sql.DB, target matrix.Target) (name string) {
	switch target.Dialect {
	case nogap.Postgres:
		require.NoError(t, db.QueryRow("SELECT current_database()").Scan(&name))
	case nogap.MySQL, nogap.MariaDB:
		require.NoError(t, db.QueryRow("SELECT DATABASE()").Scan(&name))
	}
	return name
}

type stockRow struct {
	ID      string `db:"id"`
	Stock   int64  `db:"stock"`
	Version int64  `db:"version"`
}

// uses makes a Table and a Counter, and returns calls of them in the order in which they were made.
func uses(t *testing.T, db *sql.DB, tableName, counterName string, counterFirst bool) (first, second func() error) {
	var table *optimistic.Table[stockRow]
	var stock *atomic.Counter[int64]
	makeTable := func() (err error) { table, err = optimistic.NewTable[stockRow](db, tableName); return err }
	makeCounter := func() (err error) { stock, err = atomic.NewCounter[int64](db, counterName, "stock"); return err }
	modify := func() error {
		_, err := table.Modify(t.Context(), func(it *stockRow) error { it.Stock++; return nil }, "pen")
		return err
	}
	decrement := func() error {
		_, err := stock.DecrementIfPositive(t.Context(), "pen")
		return err
	}
	if counterFirst {
		require.NoError(t, makeCounter())
		require.NoError(t, makeTable())
		return decrement, modify
	}
	require.NoError(t, makeTable())
	require.NoError(t, makeCounter())
	return modify, decrement
}

func TestReadOnlyLetsBothStand(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target)
		stock, table := counter(t, db), editor(t, db, optimistic.ReadOnly("stock"))
		pen, err := table.Get(t.Context(), "pen")
		require.NoError(t, err)
		require.EqualValues(t, 100, pen.Stock)
		_, err = stock.Decrement(t.Context(), 60, "pen")
		require.NoError(t, err)

		pen.Name, pen.Stock = "fountain pen", 1000
		require.NoError(t, table.Update(t.Context(), pen), "the version was not counted up, and the stock is not written")
		left, version := row(t, db)
		require.Equal(t, [2]int64{40, 8}, [2]int64{left, version})

		_, err = table.Modify(t.Context(), func(it *Item) error { it.Stock--; return nil }, "pen")
		require.ErrorContains(t, err, `the callback changed the column "stock", which is ReadOnly, from 40 to 39`)
		left, version = row(t, db)
		require.Equal(t, [2]int64{40, 8}, [2]int64{left, version})
		got, err := table.Modify(t.Context(), func(it *Item) error { it.Name = "pencil"; return nil }, "pen")
		require.NoError(t, err)
		require.Equal(t, &Item{ID: "pen", Name: "pencil", Stock: 40, Status: "new", Version: 9}, got)
	})
}

// xmin changes whoever writes, so nothing need count it up.
func TestXminNeedsNothing(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		type xminRow struct {
			ID    string `db:"id"`
			Name  string `db:"name"`
			Stock int64  `db:"stock"`
			Xmin  uint32 `db:"xmin"`
		}
		db := items(t, target)
		stock := counter(t, db)
		table, err := optimistic.NewTable[xminRow](db, "items", optimistic.VersionColumn("xmin"))
		require.NoError(t, err)
		pen, err := table.Get(t.Context(), "pen")
		require.NoError(t, err)
		_, err = stock.Decrement(t.Context(), 60, "pen")
		require.NoError(t, err)
		require.ErrorIs(t, table.Update(t.Context(), pen), optimistic.ErrVersionConflict)
		left, _ := row(t, db)
		require.EqualValues(t, 40, left)
	})
}

// A timestamp cannot be counted up, so there is one way out.
func TestTimestampHasOneWayOut(t *testing.T) {
	type timedRow struct {
		ID      string    `db:"id"`
		Stock   int64     `db:"stock"`
		Version time.Time `db:"version"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		_, err := optimistic.NewTable[timedRow](db, "items")
		require.NoError(t, err)
		for _, opts := range [][]atomic.Option{nil, {counted}} {
			_, err = atomic.NewCounter[int64](db, "items", "stock", opts...)
			require.ErrorContains(t, err, "no integer")
			require.ErrorContains(t, err, `optimistic.ReadOnly("stock")`)
		}
	})
}

// Nobody sees another process, or another *sql.DB, so its Counters have to count up the version as well.
func TestAnotherProcess(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		here, there := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, here)
		fill(t, here)
		table := editor(t, here)
		pen, err := table.Get(t.Context(), "pen")
		require.NoError(t, err)
		_, err = counter(t, there, counted).Decrement(context.Background(), 60, "pen")
		require.NoError(t, err)
		require.ErrorIs(t, table.Update(t.Context(), pen), optimistic.ErrVersionConflict)
		left, _ := row(t, here)
		require.EqualValues(t, 40, left)
	})
}
