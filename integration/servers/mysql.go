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

var sharedMySQL = one("NOGAP_MYSQL_DSN", mysqlPlan)

// HasMySQL reports whether there is a MySQL to test on: one of yours in NOGAP_MYSQL_DSN, or the one that
// scripts/fetch-servers.sh has fetched. Distributions such as Debian 12 package MariaDB in its stead.
func HasMySQL() bool {
	_, err := fetched("mysql")
	return err == nil || os.Getenv(sharedMySQL.variable) != ""
}

// MySQL returns the DSN, for go-sql-driver, of the MySQL server that the tests of this binary share. It names no
// database.
func MySQL(tb testing.TB) string {
	tb.Helper()
	return sharedMySQL.dsn(tb)
}

// StartMySQL starts a MySQL server for this test alone.
func StartMySQL(tb testing.TB) *Server {
	tb.Helper()
	return own(tb, func() (*Server, error) { return start(mysqlPlan) })
}

var mysqlPlan = plan{
	name:     "mysql",
	accounts: []string{"mysql", "nobody"},
	ports:    1,
	signal:   syscall.SIGKILL,
	prepare:  prepareMySQL,
	ready: func(ctx context.Context, s *Server) (string, error) {
		version, err := askMySQL(ctx, s.DSN, "SELECT version()")
		return "MySQL " + version, err
	},
}

func prepareMySQL(s *Server) ([]string, error) {
	root, err := fetched("mysql")
	if err != nil {
		return nil, err
	}
	s.DSN = "nogap@tcp(" + s.Addr + ")/"
	share := filepath.Join(root, "usr/share/mysql")
	data, err := copyData(s, root)
	return append([]string{filepath.Join(root, "usr/sbin/mysqld"), "--no-defaults", "--lc-messages-dir=" + share,
		"--character-sets-dir=" + filepath.Join(share, "charsets"), "--plugin-dir=" + filepath.Join(root, "usr/lib/mysql/plugin"),
		"--secure-file-priv=NULL", "--mysqlx=OFF", "--sync-binlog=0",
	}, mysqlOptions(s, data)...), err
}

// mysqlOptions are options that MySQL and MariaDB have in common.
func mysqlOptions(s *Server, data string) []string {
	return []string{"--datadir=" + data, "--socket=" + filepath.Join(s.dir, "socket"), "--tmpdir=" + s.dir,
		"--pid-file=" + filepath.Join(s.dir, "pid"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.ports[0].number), "--skip-name-resolve",
		"--max-connections=400", "--character-set-server=utf8mb4",
		"--innodb-flush-log-at-trx-commit=2", // survives a crash of the server, not of the machine
		"--innodb-use-native-aio=0",          // containers are short of it
	}
}

// askMySQL returns the one value that a query has.
func askMySQL(ctx context.Context, dsn, query string) (value string, err error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, query).Scan(&value)
	return value, err
}
