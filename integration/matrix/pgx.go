//go:build unix

package matrix

import (
	"database/sql"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// pgxWays returns the ways to use pgx other than its default: over a pgxpool, which keeps the connections, and with the
// simple protocol, which sends the arguments in the text of the statement.
func pgxWays() []Target {
	return []Target{
		{Name: "postgres/pgxpool", Dialect: nogap.Postgres, Driver: "pgx", maxOpen: serverPool, fresh: freshPostgres, open: openPgxpool},
		{Name: "postgres/simple-protocol", Dialect: nogap.Postgres, Driver: "pgx", maxOpen: serverPool,
			fresh: func(tb testing.TB) string {
				tb.Helper()
				u, err := url.Parse(freshPostgres(tb))
				require.NoError(tb, err)
				query := u.Query()
				query.Set("default_query_exec_mode", "simple_protocol")
				u.RawQuery = query.Encode()
				return u.String()
			}},
	}
}

func openPgxpool(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(tb, err)
	config.MaxConns = serverPool
	pool, err := pgxpool.NewWithConfig(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close) // after the *sql.DB
	return stdlib.OpenDBFromPool(pool)
}
