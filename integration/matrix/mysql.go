//go:build unix

package matrix

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

// The driver's complaints about connections that a test broke would bury what the test says.
func init() { _ = mysql.SetLogger(&mysql.NopLogger{}) }

// MariaDB returns MariaDB with both ways in which its driver counts the rows that an UPDATE affects: those that it
// changed, which is the default, and those that it found.
func MariaDB() []Target { return mysqlTargets("mariadb", nogap.MariaDB, servers.MariaDB) }

// MySQL returns the same for MySQL, and nothing if NOGAP_MYSQL_DSN is not set.
func MySQL() []Target {
	dsn, ok := servers.MySQL()
	if !ok {
		return nil
	}
	return mysqlTargets("mysql", nogap.MySQL, func(testing.TB) string { return dsn })
}

func mysqlTargets(name string, dialect nogap.Dialect, server func(testing.TB) string) []Target {
	fresh := func(foundRows bool) func(testing.TB) string {
		return func(tb testing.TB) string {
			tb.Helper()
			return createMySQL(tb, server(tb), foundRows)
		}
	}
	return []Target{
		{Name: name + "/changed-rows", Dialect: dialect, Driver: "mysql", fresh: fresh(false), maxOpen: serverPool},
		{Name: name + "/found-rows", Dialect: dialect, Driver: "mysql", fresh: fresh(true), maxOpen: serverPool},
	}
}

// createMySQL creates a database on the server of a DSN and returns the DSN that names it.
func createMySQL(tb testing.TB, server string, foundRows bool) string {
	tb.Helper()
	name := freshName()
	execMySQL(tb, server, "CREATE DATABASE "+name)
	tb.Cleanup(func() { execMySQL(tb, server, "DROP DATABASE "+name) })
	config, err := mysql.ParseDSN(server)
	require.NoError(tb, err)
	config.DBName = name
	config.ClientFoundRows = foundRows
	config.ParseTime = true
	return config.FormatDSN()
}

func execMySQL(tb testing.TB, dsn, query string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("mysql", dsn)
	require.NoError(tb, err)
	defer db.Close()
	_, err = db.ExecContext(ctx, query)
	require.NoError(tb, err)
}
