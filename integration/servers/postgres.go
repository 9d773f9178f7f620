//go:build unix

package servers

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

var sharedPostgres = one("NOGAP_POSTGRES_DSN", postgresPlan)

// Postgres returns the URL of the PostgreSQL server that the tests of this binary share. Take a private database of it,
// as package matrix does.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return sharedPostgres.dsn(tb)
}

// StartPostgres starts a PostgreSQL server for this test alone. Settings such as "fsync=on" replace those of the package.
func StartPostgres(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	plan := postgresPlan
	plan.prepare = func(s *Server) ([]string, error) {
		argv, err := postgresPlan.prepare(s)
		for _, setting := range settings {
			argv = append(argv, "-c", setting) // the last one counts
		}
		return argv, err
	}
	return own(tb, func() (*Server, error) { return start(plan) })
}

var postgresPlan = plan{
	name:     "postgres",
	accounts: []string{"postgres", "nobody"},
	ports:    1,
	signal:   syscall.SIGQUIT, // the immediate shutdown, which ends the sessions too
	prepare: func(s *Server) ([]string, error) {
		root, err := newest("postgres")
		if err != nil {
			return nil, err
		}
		postgres, err := find("postgres", "postgresql", postgresDirs(root)...)
		if err != nil {
			return nil, err
		}
		s.DSN = "postgres://nogap@" + s.Addr + "/postgres?sslmode=disable"
		data := filepath.Join(s.dir, "data")
		initdb := filepath.Join(filepath.Dir(postgres), "initdb")
		err = run(s.dir, s.as, initdb, "-D", data, "-U", "nogap", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
		if err != nil {
			return nil, err
		}
		return []string{postgres, "-D", data,
			"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.ports[0].number), "-c", "unix_socket_directories=",
			"-c", "max_connections=300",
			"-c", "fsync=off", "-c", "full_page_writes=off", // survives a crash of the server, not of the machine
			"-c", "deadlock_timeout=100ms", // the default of a second makes every deadlock that a test provokes wait for it
		}, nil
	},
	ready: func(ctx context.Context, s *Server) (string, error) {
		version, err := askPostgres(ctx, s.DSN, "SHOW server_version")
		return "PostgreSQL " + version, err
	},
}

// postgresDirs returns where Debian keeps the programs of PostgreSQL under a root directory, newest version first.
func postgresDirs(root string) []string {
	dirs, _ := filepath.Glob(root + "/usr/lib/postgresql/*/bin") // the pattern is well formed
	version := func(dir string) float64 {
		v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(dir)), 64)
		return v
	}
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	return dirs
}

// askPostgres returns the one value that a query has. PgBouncer's console understands no other protocol.
func askPostgres(ctx context.Context, dsn, query string) (value string, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&value)
	return value, err
}
