//go:build unix

// Package spelling has keys that are one row in two spellings, for tests of what compares keys.
package spelling

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// Spelling is a type of columns under which two values are one.
type Spelling struct {
	Name, Column string
	Stored       any
	Other        any // the same value
	Distinct     any // another one
}

// All returns the spellings of a dialect.
func All(d nogap.Dialect) []Spelling {
	number := Spelling{"number", "BIGINT", 1, "1", 2}
	zero := Spelling{"leading zero", "BIGINT", 1, "01", 2}
	switch d {
	case nogap.Postgres:
		return []Spelling{
			number,
			zero,
			{"uuid", "UUID", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
				"6ba7b810-9dad-11d1-80b4-00c04fd430c9"},
			IgnoresCase(d),
		}
	case nogap.SQLite:
		return []Spelling{
			number,
			zero,
			IgnoresCase(d),
			{"no type", "BLOB", "1", "1", 1},
		}
	}
	return []Spelling{
		number,
		zero,
		IgnoresCase(d),
		{"trailing blank", "VARCHAR(40) COLLATE utf8mb4_bin", "sku-a", "sku-a ", "SKU-A"},
	}
}

// IgnoresCase returns the spellings of a text.
func IgnoresCase(d nogap.Dialect) Spelling {
	column := "VARCHAR(40) COLLATE utf8mb4_general_ci"
	switch d {
	case nogap.Postgres:
		column = "VARCHAR(40) COLLATE nocase"
	case nogap.SQLite:
		column = "TEXT COLLATE NOCASE"
	}
	return Spelling{"collation", column, "sku-a", "SKU-A", "sku-b"}
}

// Prepare makes a database know the type of the columns.
func (s Spelling) Prepare(tb testing.TB, db *sql.DB, d nogap.Dialect) {
	tb.Helper()
	if s == IgnoresCase(nogap.Postgres) && d == nogap.Postgres {
		_, err := db.ExecContext(context.Background(),
			"CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
		require.NoError(tb, err)
	}
}
