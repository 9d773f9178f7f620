//go:build unix

package optimistic_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// TestOneTick: the clock stands still, which a version ahead of it amounts to. Still no two versions are the same, and who
// has read the first of them loses.
func TestOneTick(t *testing.T) {
	column := pick(", version TIMESTAMPTZ NOT NULL", ", version DATETIME(6) NOT NULL", ", version DATETIME NOT NULL")
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL"+column(target.Dialect)+")")
		ahead := time.Now().UTC().Add(time.Hour).Truncate(time.Microsecond)
		placeholder := "?"
		if target.Dialect == nogap.Postgres {
			placeholder = "$1"
		}
		_, err := db.Exec("INSERT INTO items VALUES (1, 10, "+placeholder+")", ahead)
		require.NoError(t, err)
		type row struct {
			ID      int64     `db:"id"`
			Stock   int64     `db:"stock"`
			Version time.Time `db:"version"`
		}
		items, err := optimistic.NewTable[row](db, "items")
		require.NoError(t, err)
		winner, err := items.Get(t.Context(), 1)
		require.NoError(t, err)
		for n := range 3 {
			loser, err := items.Get(t.Context(), 1)
			require.NoError(t, err)
			require.NoError(t, items.Update(t.Context(), winner))
			require.Equal(t, time.Duration(n+1)*time.Microsecond, winner.Version.Sub(ahead))
			require.ErrorIs(t, items.Update(t.Context(), loser), optimistic.ErrVersionConflict)
		}
	})
}

// TestCoarseColumn: a column that keeps less than microseconds is refused before anything is written.
func TestCoarseColumn(t *testing.T) {
	columns := map[nogap.Dialect][]string{
		nogap.Postgres: {"TIMESTAMP(0)", "TIMESTAMPTZ(3)", "DATE"},
		nogap.MySQL:    {"DATETIME", "DATETIME(3)", "TIMESTAMP", "DATE"},
		nogap.MariaDB:  {"DATETIME", "DATETIME(3)", "TIMESTAMP", "DATE"},
	}
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		for _, column := range columns[target.Dialect] {
			exec(t, db, "DROP TABLE IF EXISTS items")
			create(t, db, ", version "+column+" NOT NULL DEFAULT '2001-02-03'")
			items, err := optimistic.NewTable[timeRow](db, "items", optimistic.WithKey("shop", "sku"))
			require.NoError(t, err)
			for range 2 {
				_, err = items.Modify(t.Context(), func(*timeRow) error { panic("called") }, "north", 1)
				require.ErrorContains(t, err, "microseconds", column)
				require.ErrorContains(t, err, `"version"`, column)
			}
		}
	})
}

// TestCoarseDriver: SQLite keeps what its driver writes, and a driver that leaves the microseconds out is refused.
func TestCoarseDriver(t *testing.T) {
	for _, target := range matrix.SQLite() {
		setting := map[string]string{"sqlite": "&_time_format=datetime", "ncruces": "&_timefmt=sqlite"}[target.Driver]
		if setting == "" {
			continue // mattn's has none
		}
		t.Run(target.Name, func(t *testing.T) {
			db := target.Connect(t, target.DSN(t)+setting)
			create(t, db, ", version DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP")
			items, err := optimistic.NewTable[timeRow](db, "items", optimistic.WithKey("shop", "sku"))
			require.NoError(t, err)
			_, err = items.Modify(t.Context(), func(*timeRow) error { return errors.New("called") }, "north", 1)
			require.ErrorContains(t, err, `the version column "version": the driver writes times without microseconds`)
		})
	}
}

// TestNanoseconds: a version that somebody made up with nanoseconds has a successor that no server takes for the same.
func TestNanoseconds(t *testing.T) {
	columns := pick("TIMESTAMPTZ", "DATETIME(6)", "DATETIME")
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (shop VARCHAR(20), sku BIGINT, stock BIGINT NOT NULL, note VARCHAR(20), version "+
			columns(target.Dialect)+" NOT NULL, PRIMARY KEY (shop, sku))")
		items, err := optimistic.NewTable[timeRow](db, "items", optimistic.WithKey("shop", "sku"))
		require.NoError(t, err)
		future := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond).Add(900)
		insert := "INSERT INTO items (shop, sku, stock, version) VALUES ('north', 1, 10, " + pick("$1", "?", "?")(target.Dialect) + ")"
		_, err = db.Exec(insert, future)
		require.NoError(t, err)
		mine := timeRow{Item: &Item{Shop: "north", SKU: 1, Stock: 9}, Changed: future}
		rivals := timeRow{Item: &Item{Shop: "north", SKU: 1, Stock: 8}, Changed: future}
		if items.Update(t.Context(), &mine) != nil {
			return // where a server cuts off what it can't keep, the row has another version from the beginning
		}
		require.ErrorIs(t, items.Update(t.Context(), &rivals), optimistic.ErrVersionConflict)
	})
}

// TestNullVersion: NULL does not fit every field, and is never skipped.
func TestNullVersion(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, ", version BIGINT")
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"))
		require.NoError(t, err)
		_, err = items.Get(t.Context(), "north", 1)
		require.ErrorContains(t, err, "NULL")
		require.ErrorContains(t, err, "version")
		row := &counterRow{Item: Item{Shop: "north", SKU: 1, Stock: 99}}
		require.ErrorIs(t, items.Update(t.Context(), row), optimistic.ErrVersionConflict)
		require.EqualValues(t, 10, value[int64](t, db, stockNow))
	})
}
