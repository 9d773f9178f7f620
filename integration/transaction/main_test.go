//go:build unix

// Package transaction_test is the conformance suite of package transaction: what it promises, on every database and driver
// of the matrix.
package transaction_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func exec(tb testing.TB, db *sql.DB, format string, args ...any) {
	tb.Helper()
	_, err := db.ExecContext(context.Background(), fmt.Sprintf(format, args...))
	require.NoError(tb, err)
}

func number(tb testing.TB, db *sql.DB, query string) (n int) {
	tb.Helper()
	require.NoError(tb, db.QueryRowContext(context.Background(), query).Scan(&n))
	return n
}

func isSQLite(target matrix.Target) bool { return target.Dialect == nogap.SQLite }

// bindName returns the name by which sqlx knows the placeholders.
func bindName(target matrix.Target) string {
	if target.Dialect == nogap.Postgres {
		return "postgres"
	}
	return "mysql"
}
