//go:build unix

package servers

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

var sharedPgBouncer struct {
	sync.Mutex
	*shared
}

// PgBouncer returns the URL of a PgBouncer in transaction pooling, in front of the server that Postgres returns. It
// passes any database on.
//
// PgBouncer before version 1.21, which Debian 12 has, knows no prepared statements. A client must send a statement with
// its arguments in one go: pgx with default_query_exec_mode=exec, lib/pq with binary_parameters=yes.
func PgBouncer(tb testing.TB) string {
	tb.Helper()
	const variable = "NOGAP_PGBOUNCER_DSN"
	sharedPgBouncer.Lock()
	defer sharedPgBouncer.Unlock()
	if sharedPgBouncer.shared == nil {
		postgres := ""
		if os.Getenv(variable) == "" {
			postgres = Postgres(tb)
		}
		sharedPgBouncer.shared = one(variable, pgbouncerPlan(postgres))
	}
	return sharedPgBouncer.dsn(tb)
}

// StartPgBouncer starts a PgBouncer in transaction pooling for this test alone, in front of the PostgreSQL server of a URL.
// Settings such as "server_login_retry = 1" replace those of the package.
func StartPgBouncer(tb testing.TB, postgres string, settings ...string) *Server {
	tb.Helper()
	return own(tb, func() (*Server, error) { return start(pgbouncerPlan(postgres, settings...)) })
}

func pgbouncerPlan(postgres string, settings ...string) plan {
	return plan{
		name:     "pgbouncer",
		accounts: []string{"postgres", "nobody"},
		ports:    1,
		signal:   syscall.SIGKILL,
		prepare: func(s *Server) ([]string, error) {
			program, err := find("pgbouncer", "pgbouncer")
			if err != nil {
				return nil, err
			}
			behind, err := pgx.ParseConfig(postgres)
			if err != nil {
				return nil, err
			}
			s.DSN = "postgres://nogap@" + s.Addr + "/postgres?sslmode=disable"
			password := ""
			if behind.Password != "" {
				password = " password='" + strings.ReplaceAll(behind.Password, "'", "''") + "'"
			}
			config := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s%s
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
ignore_startup_parameters = extra_float_digits
default_pool_size = 20
max_client_conn = 500
server_idle_timeout = 10
log_connections = 0
log_disconnections = 0
%s
`, behind.Host, behind.Port, behind.User, password, s.ports[0].number, strings.Join(settings, "\n"))
			file := filepath.Join(s.dir, "pgbouncer.ini")
			// The directory is closed to others, the file is not: the server does not run as its owner.
			if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
				return nil, err
			}
			return []string{program, file}, nil
		},
		ready: pgbouncerVersion,
	}
}

func pgbouncerVersion(ctx context.Context, s *Server) (version string, err error) {
	if _, err := askPostgres(ctx, s.DSN, "SELECT 1"); err != nil {
		return "", err
	}
	console, err := url.Parse(s.DSN)
	if err != nil {
		return "", err
	}
	console.Path = "/pgbouncer"
	version, err = askPostgres(ctx, console.String(), "SHOW VERSION")
	if err != nil { // one of yours need not let everybody in there
		return "PgBouncer", nil
	}
	return version, nil
}
