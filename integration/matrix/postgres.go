//go:build unix

package matrix

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers pgx
	_ "github.com/lib/pq"              // registers postgres
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

// serverPool is how many connections a pool to a server takes at most: two full pools and some more fit in the server.
const serverPool = 40

// Postgres returns PostgreSQL with each of its drivers.
func Postgres() []Target {
	return []Target{
		{Name: "postgres/pgx", Dialect: nogap.Postgres, Driver: "pgx", fresh: freshPostgres, maxOpen: serverPool},
		{Name: "postgres/pq", Dialect: nogap.Postgres, Driver: "postgres", fresh: freshPostgres, maxOpen: serverPool},
	}
}

func freshPostgres(tb testing.TB) string {
	tb.Helper()
	return createPostgres(tb, servers.Postgres(tb), servers.Postgres(tb))
}

// createPostgres creates a database by way of the DSN admin and returns the DSN in which it takes the place of the one
// named.
func createPostgres(tb testing.TB, admin, dsn string) string {
	tb.Helper()
	name := freshName()
	execPostgres(tb, admin, "CREATE DATABASE "+name)
	tb.Cleanup(func() { execPostgres(tb, admin, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(dsn)
	require.NoError(tb, err, "the DSN must be a URL")
	u.Path = "/" + name
	return u.String()
}

func execPostgres(tb testing.TB, dsn, query string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(tb, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, query)
	require.NoError(tb, err)
}

// freshName returns a name for a database that no other test has.
func freshName() string { return "nogap_" + strings.ToLower(rand.Text()) }
