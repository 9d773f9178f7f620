//go:build unix

package matrix

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

// PgBouncer returns PostgreSQL behind a PgBouncer in transaction pooling, with each driver and the setting that it needs
// there: see servers.PgBouncer.
func PgBouncer() []Target {
	fresh := func(parameter, value string) func(testing.TB) string {
		return func(tb testing.TB) string {
			tb.Helper()
			u, err := url.Parse(createPostgres(tb, servers.PgBouncer(tb)))
			require.NoError(tb, err)
			query := u.Query()
			query.Set(parameter, value)
			u.RawQuery = query.Encode()
			return u.String()
		}
	}
	return []Target{
		{Name: "pgbouncer/pgx", Dialect: nogap.Postgres, Driver: "pgx", maxOpen: serverPool,
			fresh: fresh("default_query_exec_mode", "exec")},
		{Name: "pgbouncer/pq", Dialect: nogap.Postgres, Driver: "postgres", maxOpen: serverPool,
			fresh: fresh("binary_parameters", "yes")},
	}
}
