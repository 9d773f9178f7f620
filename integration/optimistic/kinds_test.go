//go:build unix

package optimistic_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// Item is what all rows of the tests have. The table also has a column "origin", with a default, that it leaves out.
type Item struct {
	Shop  string         `db:"shop"`
	SKU   int64          `db:"sku"`
	Stock int64          `db:"stock"`
	Note  sql.NullString `db:"note"`
}

// One type of row for each kind of version.
type (
	counterRow struct {
		Item
		Version int64 `db:"version"`
	}
	smallRow struct {
		Item
		Version uint16 `db:"version"`
	}
	nullCounterRow struct {
		Item
		Version sql.NullInt64 `db:"version"`
	}
	timeRow struct {
		*Item
		Changed time.Time `db:"version"`
	}
	nullTimeRow struct {
		Item
		Changed *time.Time `db:"version"`
	}
	textRow struct {
		Item
		Token string `db:"version"`
	}
	bytesRow struct {
		Item
		Token []byte `db:"version"`
	}
	uuidRow struct {
		Item
		Token uuid.UUID `db:"version"`
	}
	xminRow struct {
		Item
		Xmin uint32 `db:"xmin"`
	}
)

// kind is a kind of version, on all targets that have it.
type kind struct {
	name string
	// column declares the version column, whose default is the version of a new row. Empty: the target has no such kind.
	column func(nogap.Dialect) string
	run    func(*testing.T, func(testing.TB) *sql.DB)
}

func same(ddl string) func(nogap.Dialect) string {
	return func(nogap.Dialect) string { return ddl }
}

func pick(postgres, mysql, sqlite string) func(nogap.Dialect) string {
	return func(d nogap.Dialect) string {
		switch d {
		case nogap.Postgres:
			return postgres
		case nogap.SQLite:
			return sqlite
		}
		return mysql
	}
}

const zeroUUID = "'00000000-0000-0000-0000-000000000000'"

var kinds = []kind{
	{"counter", same(", version BIGINT NOT NULL DEFAULT 0"), conform(func(r *counterRow) (*Item, *int64) { return &r.Item, &r.Version })},
	{"small counter", same(", version INT NOT NULL DEFAULT 7"), conform(func(r *smallRow) (*Item, *uint16) { return &r.Item, &r.Version })},
	{"NULL counter", same(", version BIGINT"), conform(func(r *nullCounterRow) (*Item, *sql.NullInt64) { return &r.Item, &r.Version })},
	{"timestamp", pick(", version TIMESTAMPTZ NOT NULL DEFAULT now()", ", version DATETIME(6) NOT NULL DEFAULT now(6)",
		", version DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP"),
		conform(func(r *timeRow) (*Item, *time.Time) { return r.Item, &r.Changed })},
	{"timestamp without zone", pick(", version TIMESTAMP NOT NULL DEFAULT '2001-02-03 04:05:06'",
		", version TIMESTAMP(6) NOT NULL DEFAULT '2001-02-03 04:05:06'", ", version TIMESTAMP NOT NULL DEFAULT '2001-02-03T04:05:06Z'"),
		conform(func(r *timeRow) (*Item, *time.Time) { return r.Item, &r.Changed })},
	{"NULL timestamp", pick(", version TIMESTAMPTZ", ", version DATETIME(6)", ", version DATETIME"),
		conform(func(r *nullTimeRow) (*Item, **time.Time) { return &r.Item, &r.Changed })},
	{"text token", pick(", version TEXT NOT NULL DEFAULT ''", ", version CHAR(36) NOT NULL DEFAULT ''", ", version TEXT NOT NULL DEFAULT ''"),
		conform(func(r *textRow) (*Item, *string) { return &r.Item, &r.Token })},
	{"uuid token as text", pick(", version UUID NOT NULL DEFAULT "+zeroUUID, "", ""),
		conform(func(r *textRow) (*Item, *string) { return &r.Item, &r.Token })},
	{"bytes token", pick(", version BYTEA", ", version BINARY(16)", ", version BLOB"),
		conform(func(r *bytesRow) (*Item, *[]byte) { return &r.Item, &r.Token })},
	{"uuid token", pick(", version UUID NOT NULL DEFAULT "+zeroUUID, ", version CHAR(36) NOT NULL DEFAULT "+zeroUUID,
		", version TEXT NOT NULL DEFAULT "+zeroUUID), conform(func(r *uuidRow) (*Item, *uuid.UUID) { return &r.Item, &r.Token })},
	{"xmin", pick(" ", "", ""), conform(func(r *xminRow) (*Item, *uint32) { return &r.Item, &r.Xmin }, optimistic.VersionColumn("xmin"))},
}

// create makes the table with one row, ('north', 1), that has 10 in stock.
func create(tb testing.TB, db *sql.DB, versionColumn string) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE items (shop VARCHAR(20) NOT NULL, sku BIGINT NOT NULL, stock BIGINT NOT NULL, note VARCHAR(20), "+
		"origin VARCHAR(20) NOT NULL DEFAULT 'somewhere'"+versionColumn+", PRIMARY KEY (shop, sku))")
	exec(tb, db, "INSERT INTO items (shop, sku, stock) VALUES ('north', 1, 10)")
}

func exec(tb testing.TB, db *sql.DB, query string) {
	tb.Helper()
	_, err := db.ExecContext(context.Background(), query)
	require.NoError(tb, err)
}

func value[T any](tb testing.TB, db *sql.DB, query string) (v T) {
	tb.Helper()
	require.NoError(tb, db.QueryRowContext(context.Background(), query).Scan(&v))
	return v
}

// TestKinds runs the same tests for each kind of version on each target.
func TestKinds(t *testing.T) {
	targets := append(matrix.Conformance(), matrix.PgBouncer()...)
	targets = append(targets, matrix.Clusters()...)
	matrix.Parallel(t, targets, func(t *testing.T, target matrix.Target) {
		ran, dsn := 0, target.DSN(t)
		enough := len(kinds)
		if strings.HasSuffix(target.Name, "/one-connection") {
			enough = 2 // how many connections there are is the same to all kinds
		}
		for _, k := range kinds {
			ddl := k.column(target.Dialect)
			if ddl == "" || ran == enough {
				continue
			}
			ran++
			t.Run(k.name, func(t *testing.T) {
				// A pool of its own: pgx does not take it well that a table changes its type.
				db := target.Connect(t, dsn)
				k.run(t, func(tb testing.TB) *sql.DB {
					exec(tb, db, "DROP TABLE IF EXISTS items")
					create(tb, db, ddl)
					return db
				})
			})
		}
		require.GreaterOrEqual(t, ran, min(9, enough))
	})
}
