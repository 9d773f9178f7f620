//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// everyWay reads row 1 of items into a T in each way that there is, and returns the errors by the name of the way.
func everyWay[T any](t *testing.T, db *sql.DB, seen func(T)) map[string]error {
	t.Helper()
	ctx := concurrent.Within(t, time.Minute)
	one := func(_ context.Context, _ *sqlx.Tx, it *T) error { seen(*it); return nil }
	all := func(_ context.Context, _ *sqlx.Tx, its []*T) error { seen(*its[0]); return nil }
	errs := map[string]error{
		"WithRowLock":  pessimistic.WithRowLock(ctx, db, item(1), one),
		"WithRowLocks": pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "items", Keys: []any{1}}, all),
		"Claim":        pessimistic.Claim(ctx, db, pessimistic.Queue{Table: "items", OrderBy: "id", Limit: 1}, all),
	}
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	defer tx.Rollback()
	it, err := pessimistic.LockRow[T](ctx, tx, item(1))
	if errs["LockRow"] = err; err == nil {
		seen(*it)
	}
	return errs
}

// TestFieldWithoutColumn: a field that no column fills would be zero without a word.
func TestFieldWithoutColumn(t *testing.T) {
	type untagged struct { // as for GORM
		ID       int64
		InStock  int64
		NickName string
	}
	type tagged struct {
		ID      int64 `db:"id"`
		InStock int64 `db:"stock"`
		Total   int64 `db:"-"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		for way, err := range everyWay(t, db, func(it untagged) { t.Errorf("called with %+v", it) }) {
			require.ErrorContains(t, err, "instock", way)
			require.ErrorContains(t, err, `db:"-"`, way)
		}
		for way, err := range everyWay(t, db, func(it tagged) { require.Equal(t, tagged{1, 100, 0}, it) }) {
			require.NoError(t, err, way)
		}
	})
}

// A key column that nobody has named is "id". The error says so, and not that a field of the struct has no column.
func TestMissingKeyColumn(t *testing.T) {
	type row struct {
		SKU string `db:"sku"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (sku varchar(20) PRIMARY KEY)")
		err := pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: "a"},
			func(context.Context, *sqlx.Tx, *row) error { return nil })
		require.ErrorContains(t, err, `the key column is "id" unless KeyColumns names others`)
		require.NotContains(t, err.Error(), "db:")
	})
}

// TestInvisibleColumn: SELECT * leaves it out.
func TestInvisibleColumn(t *testing.T) {
	matrix.Run(t, append(matrix.MariaDB(), matrix.MySQL()...), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id int PRIMARY KEY, stock int INVISIBLE NOT NULL DEFAULT 100)")
		exec(t, db, "INSERT INTO items VALUES (1)")
		for way, err := range everyWay(t, db, func(it Item) { require.Equal(t, Item{1, 100}, it) }) {
			require.NoError(t, err, way)
		}
	})
}

// TestColumnsWithAlias: the driver names the columns of a result otherwise than the table does.
func TestColumnsWithAlias(t *testing.T) {
	matrix.Run(t, append(matrix.MariaDB(), matrix.MySQL()...), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		createItems(t, target.Connect(t, dsn), 1)
		join := "?"
		if strings.Contains(dsn, "?") {
			join = "&"
		}
		db := target.Connect(t, dsn+join+"columnsWithAlias=true")
		for way, err := range everyWay(t, db, func(it Item) { require.Equal(t, Item{1, 100}, it) }) {
			require.NoError(t, err, way)
		}
		for way, err := range everyWay(t, db, func(row map[string]any) {
			require.Len(t, row, 3)
			require.EqualValues(t, 100, row["stock"])
		}) {
			require.NoError(t, err, way)
		}
	})
}

// TestAlteredTable: a table is altered while programs that know its old form are running.
func TestAlteredTable(t *testing.T) {
	alter := map[nogap.Dialect][]string{
		nogap.Postgres: {"ADD COLUMN added int", "ALTER COLUMN stock TYPE bigint"},
		nogap.MariaDB:  {"ADD COLUMN added int", "MODIFY stock bigint NOT NULL"},
		nogap.MySQL:    {"ADD COLUMN added int", "MODIFY stock bigint NOT NULL"},
		nogap.SQLite:   {"ADD COLUMN added int"},
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		other := target.Connect(t, dsn)
		createItems(t, other, 1)
		db := target.Connect(t, dsn)
		for _, change := range alter[target.Dialect] {
			everyWay(t, db, func(Item) {})
			everyWay(t, db, func(map[string]any) {})
			exec(t, other, "ALTER TABLE items "+change)
			// LockRow comes last, when the connection's statement is new: in a transaction of the caller's nothing is repeated.
			for way, err := range everyWay(t, db, func(row map[string]any) { require.EqualValues(t, 100, row["stock"]) }) {
				require.NoError(t, err, "%s after %s", way, change)
			}
			for way, err := range everyWay(t, db, func(it Item) { require.Equal(t, Item{1, 100}, it) }) {
				require.NoError(t, err, "%s after %s", way, change)
			}
		}
	})
}
