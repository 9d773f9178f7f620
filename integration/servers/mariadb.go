//go:build unix

package servers

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

var sharedMariaDB = one("NOGAP_MARIADB_DSN", mariadbPlan)

// MariaDB returns the DSN, for go-sql-driver, of the MariaDB server that the tests of this binary share. It names no
// database. Take a private one, as package matrix does.
func MariaDB(tb testing.TB) string {
	tb.Helper()
	return sharedMariaDB.dsn(tb)
}

// StartMariaDB starts a MariaDB server for this test alone. Options such as "--log-bin" replace those of the package.
func StartMariaDB(tb testing.TB, options ...string) *Server {
	tb.Helper()
	return own(tb, func() (*Server, error) { return start(mariadbPlan.with(options)) })
}

var mariadbPlan = plan{
	name:     "mariadb",
	accounts: []string{"mysql", "nobody"},
	ports:    1,
	signal:   syscall.SIGKILL,
	prepare:  prepareMariaDB,
	ready: func(ctx context.Context, s *Server) (string, error) {
		version, err := askMySQL(ctx, s.DSN, "SELECT version()")
		return "MariaDB " + version, err
	},
}

func prepareMariaDB(s *Server) ([]string, error) {
	s.DSN = "nogap@tcp(" + s.Addr + ")/"
	root, err := newest("mariadb")
	if err != nil {
		return nil, err
	}
	if root != "" {
		share := filepath.Join(root, "usr/share/mariadb")
		data, err := copyData(s, root)
		return append([]string{filepath.Join(root, "usr/sbin/mariadbd"), "--no-defaults", "--lc-messages-dir=" + share,
			"--character-sets-dir=" + filepath.Join(share, "charsets"), "--plugin-dir=" + filepath.Join(root, "usr/lib/mysql/plugin"),
		}, mysqlOptions(s, data)...), err
	}
	mariadbd, err := find("mariadbd", "mariadb-server")
	if err != nil {
		return nil, err
	}
	data, err := installMariaDB(s)
	return append([]string{mariadbd, "--no-defaults"}, mysqlOptions(s, data)...), err
}

// installMariaDB makes a data directory and returns its path.
func installMariaDB(s *Server) (data string, err error) {
	install, err := find("mariadb-install-db", "mariadb-server")
	if err != nil {
		return "", err
	}
	grant := filepath.Join(s.dir, "grant.sql")
	sql := "FLUSH PRIVILEGES;\nCREATE USER nogap@'%';\nGRANT ALL PRIVILEGES ON *.* TO nogap@'%' WITH GRANT OPTION;\n"
	if err := os.WriteFile(grant, []byte(sql), 0o644); err != nil {
		return "", err
	}
	data = filepath.Join(s.dir, "data")
	return data, run(s.dir, s.as, install, "--no-defaults", "--datadir="+data, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--extra-file="+grant)
}
