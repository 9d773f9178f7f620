//go:build unix

package matrix

import (
	"context"
	"database/sql"
	"io"
	"log"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

// The driver's complaints about connections that a test broke would bury what the test says.
func init() { _ = mysql.SetLogger(log.New(io.Discard, "", 0)) }

// MariaDB returns MariaDB with both ways in which its driver counts the rows that an UPDATE affects: those that it
// changed, which is the default, and those that it found. It returns it once more with innodb_snapshot_isolation, which is
// the default of MariaDB from 11.6.2 on and which 10.6.18 and 10.11.8 have. With NOGAP_NEWEST it returns one, which has that default.
func MariaDB() []Target {
	targets := mysqlTargets("mariadb", nogap.MariaDB, servers.MariaDB)
	return ways(append(targets, Target{Name: "mariadb/snapshot", Dialect: nogap.MariaDB, Driver: "mysql", maxOpen: serverPool,
		fresh: func(tb testing.TB) string {
			tb.Helper()
			return createMySQL(tb, servers.MariaDB(tb), func(config *mysql.Config) {
				if config.Params == nil {
					config.Params = map[string]string{}
				}
				config.Params["innodb_snapshot_isolation"] = "ON"
			})
		}}))
}

// MySQL returns MySQL with both ways of counting rows, and nothing where there is no MySQL: see servers.HasMySQL. With
// NOGAP_NEWEST it returns nothing either, since the MySQL of a run without it is the same.
func MySQL() []Target {
	if servers.Newest() || !servers.HasMySQL() {
		return nil
	}
	return mysqlTargets("mysql", nogap.MySQL, servers.MySQL)
}

// NotStrict returns MariaDB and MySQL in a sql_mode that is not strict, where they store what is left of a value that does
// not fit its column, and say so in a warning that nobody reads.
func NotStrict() []Target {
	targets := append(MariaDB(), MySQL()...)
	for i, strict := range targets {
		targets[i].Name += "/not-strict"
		targets[i].fresh = func(tb testing.TB) string {
			tb.Helper()
			config, err := mysql.ParseDSN(strict.fresh(tb))
			require.NoError(tb, err)
			if config.Params == nil {
				config.Params = map[string]string{}
			}
			config.Params["sql_mode"] = "''"
			return config.FormatDSN()
		}
	}
	return targets
}

func mysqlTargets(name string, dialect nogap.Dialect, server func(testing.TB) string) []Target {
	fresh := func(foundRows bool) func(testing.TB) string {
		return func(tb testing.TB) string {
			tb.Helper()
			return createMySQL(tb, server(tb), func(config *mysql.Config) { config.ClientFoundRows = foundRows })
		}
	}
	return []Target{
		{Name: name + "/changed-rows", Dialect: dialect, Driver: "mysql", fresh: fresh(false), maxOpen: serverPool},
		{Name: name + "/found-rows", Dialect: dialect, Driver: "mysql", fresh: fresh(true), maxOpen: serverPool},
	}
}

// createMySQL creates a database on the server of a DSN and returns the DSN that names it, with a setting of the target.
func createMySQL(tb testing.TB, server string, set func(*mysql.Config)) string {
	tb.Helper()
	name := freshName()
	execMySQL(tb, server, "CREATE DATABASE "+name)
	tb.Cleanup(func() { execMySQL(tb, server, "DROP DATABASE "+name) })
	config, err := mysql.ParseDSN(server)
	require.NoError(tb, err)
	config.DBName = name
	config.ParseTime = true
	set(config)
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
