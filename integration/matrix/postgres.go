//go:build unix

package matrix

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"sync"
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

// Postgres returns PostgreSQL with each of its drivers, and with NOGAP_NEWEST with one.
func Postgres() []Target {
	return ways([]Target{
		{Name: "postgres/pgx", Dialect: nogap.Postgres, Driver: "pgx", fresh: freshPostgres, maxOpen: serverPool},
		{Name: "postgres/pq", Dialect: nogap.Postgres, Driver: "postgres", fresh: freshPostgres, maxOpen: serverPool},
	})
}

func freshPostgres(tb testing.TB) string {
	tb.Helper()
	return createPostgres(tb, servers.Postgres(tb))
}

// wiped are the databases of a server, by its DSN, that tests have given back. To create a database and drop it again
// takes 200 ms, to empty one takes 5.
var wiped = struct {
	sync.Mutex
	names map[string][]string
}{names: map[string][]string{}}

// createPostgres returns the DSN of an empty database on the server of a DSN, for the time of a test.
func createPostgres(tb testing.TB, server string) string {
	tb.Helper()
	name := takeWiped(server)
	if name == "" {
		name = freshName()
		require.NoError(tb, execPostgres(server, "CREATE DATABASE "+name))
	}
	u, err := url.Parse(server)
	require.NoError(tb, err, "the DSN must be a URL")
	u.Path = "/" + name
	tb.Cleanup(func() {
		if execPostgres(u.String(), wipe) != nil { // what a failed test holds locked is dropped
			require.NoError(tb, execPostgres(server, dropDatabase+name+force))
			return
		}
		giveWiped(server, name)
	})
	return u.String()
}

// wipe drops all that a test can have made in its database.
const wipe = `BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL client_min_messages = warning;
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
		EXECUTE 'DROP SCHEMA ' || name || ' CASCADE';
	END LOOP;
END $$;
CREATE SCHEMA public; COMMIT`

const dropDatabase, force = "DROP DATABASE ", " WITH (FORCE)"

func takeWiped(server string) (name string) {
	wiped.Lock()
	defer wiped.Unlock()
	if names := wiped.names[server]; len(names) > 0 {
		name = names[len(names)-1]
		wiped.names[server] = names[:len(names)-1]
	}
	return name
}

func giveWiped(server, name string) {
	wiped.Lock()
	defer wiped.Unlock()
	if wiped.names[server] == nil {
		servers.OnExit(func() error { return dropWiped(server) })
	}
	wiped.names[server] = append(wiped.names[server], name)
}

func dropWiped(server string) error {
	wiped.Lock()
	defer wiped.Unlock()
	var errs []error
	for _, name := range wiped.names[server] {
		errs = append(errs, execPostgres(server, dropDatabase+name+force))
	}
	return errors.Join(errs...)
}

// execPostgres runs one or more statements without arguments.
func execPostgres(dsn, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, query)
	return err
}

// freshName returns a name for a database that no other test has.
func freshName() string { return "nogap_" + strings.ToLower(rand.Text()) }
