//go:build unix

package servers

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
	var options []string
	for _, setting := range settings {
		options = append(options, "-c", setting) // the last one counts
	}
	return own(tb, func() (*Server, error) { return start(postgresPlan.with(options)) })
}

// StartPostgresStandby starts a standby of a server for this test alone, on which Promote may be called. With the primary's
// synchronous_standby_names = '*' a COMMIT waits until the standby has it.
func StartPostgresStandby(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	plan := postgresPlan
	plan.name = "standby"
	plan.prepare = func(s *Server) ([]string, error) {
		s.DSN = "postgres://nogap@" + s.Addr + "/postgres?sslmode=disable"
		data := filepath.Join(s.dir, "data")
		backup := []string{filepath.Join(filepath.Dir(primary.argv[0]), "pg_basebackup"), "-d", primary.DSN, "-D", data,
			"--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--wal-method=stream"}
		root, err := newest("postgres")
		if err != nil {
			return nil, err
		}
		// What scripts/fetch-servers.sh has fetched needs the C library that came with it.
		if loaders, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*/ld-linux-*"); root != "" && len(loaders) > 0 {
			backup = append([]string{loaders[0], "--library-path", filepath.Dir(loaders[0])}, backup...)
		}
		err = run(s.dir, s.as, backup[0], backup[1:]...)
		argv := slices.Clone(primary.argv)
		for i, arg := range argv {
			argv[i] = strings.ReplaceAll(strings.ReplaceAll(arg, filepath.Join(primary.dir, "data"), data),
				"port="+strconv.Itoa(primary.ports[0].number), "port="+strconv.Itoa(s.ports[0].number))
		}
		return append(argv, "-c", "synchronous_standby_names="), err
	}
	return own(tb, func() (*Server, error) { return start(plan) })
}

// Promote makes a primary of a standby.
func (s *Server) Promote(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := askPostgres(ctx, s.DSN, "SELECT pg_promote()::text"); err != nil {
		tb.Fatal(err)
	}
}

var postgresPlan = plan{
	name:     "postgres",
	accounts: []string{"postgres", "nobody"},
	ports:    1,
	signal:   syscall.SIGQUIT, // the immediate shutdown, which ends the sessions too
	prepare:  func(s *Server) ([]string, error) { return preparePostgres(s) },
	ready: func(ctx context.Context, s *Server) (string, error) {
		version, err := askPostgres(ctx, s.DSN, "SHOW server_version")
		return "PostgreSQL " + version, err
	},
}

// preparePostgres makes a data directory, with options for initdb behind its own.
func preparePostgres(s *Server, options ...string) ([]string, error) {
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
	err = run(s.dir, s.as, initdb, append([]string{"-D", data, "-U", "nogap", "--auth=trust", "--no-sync", "--encoding=UTF8",
		"--locale=C"}, options...)...)
	if err != nil {
		return nil, err
	}
	return []string{postgres, "-D", data,
		"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.ports[0].number), "-c", "unix_socket_directories=",
		"-c", "max_connections=300",
		"-c", "fsync=off", "-c", "full_page_writes=off", // survives a crash of the server, not of the machine
		"-c", "deadlock_timeout=100ms", // the default of a second makes every deadlock that a test provokes wait for it
	}, nil
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
