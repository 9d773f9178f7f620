//go:build unix

package servers

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
)

var sharedMariaDB = shared{variable: "NOGAP_MARIADB_DSN", start: func() (*Server, error) { return start(mariadbPlan) }}

// MariaDB returns the DSN, for go-sql-driver, of the MariaDB server that the tests of this binary share. It names no
// database. Take a private one, as package matrix does.
func MariaDB(tb testing.TB) string {
	tb.Helper()
	return sharedMariaDB.dsn(tb)
}

// StartMariaDB starts a MariaDB server for this test alone.
func StartMariaDB(tb testing.TB) *Server {
	tb.Helper()
	return own(tb, func() (*Server, error) { return start(mariadbPlan) })
}

// MySQL returns the DSN of your MySQL server in NOGAP_MYSQL_DSN, and whether there is one. The package starts none,
// since distributions package MariaDB in its stead.
func MySQL() (dsn string, ok bool) {
	dsn = os.Getenv("NOGAP_MYSQL_DSN")
	return dsn, dsn != ""
}

var mariadbPlan = plan{
	name:     "mariadb",
	accounts: []string{"mysql", "nobody"},
	ports:    1,
	signal:   syscall.SIGKILL,
	prepare:  prepareMariaDB,
	ready:    pingMySQL,
}

func prepareMariaDB(s *Server) ([]string, error) {
	mariadbd, err := find("mariadbd", "mariadb-server")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "mariadb-server")
	if err != nil {
		return nil, err
	}
	s.DSN = "nogap@tcp(" + s.Addr + ")/"
	grant := filepath.Join(s.dir, "grant.sql")
	sql := "FLUSH PRIVILEGES;\nCREATE USER nogap@'%';\nGRANT ALL PRIVILEGES ON *.* TO nogap@'%' WITH GRANT OPTION;\n"
	if err := os.WriteFile(grant, []byte(sql), 0o644); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	err = run(s.dir, s.as, install, "--no-defaults", "--datadir="+data, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--extra-file="+grant)
	if err != nil {
		return nil, err
	}
	return []string{mariadbd, "--no-defaults", "--datadir=" + data, "--socket=" + filepath.Join(s.dir, "socket"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.ports[0].number), "--skip-name-resolve",
		"--max-connections=400", "--character-set-server=utf8mb4",
		"--innodb-flush-log-at-trx-commit=2", // survives a crash of the server, not of the machine
		"--innodb-use-native-aio=0",          // containers are short of it
	}, nil
}

func pingMySQL(ctx context.Context, s *Server) error {
	db, err := sql.Open("mysql", s.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}
