//go:build unix

package matrix

import (
	"database/sql"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

// Galera returns the first node of a MariaDB Galera cluster.
func Galera() []Target {
	return []Target{{Name: "galera", Dialect: nogap.MariaDB, Driver: "mysql", maxOpen: serverPool,
		fresh: func(tb testing.TB) string {
			tb.Helper()
			return createMySQL(tb, servers.Galera(tb)[0], func(*mysql.Config) {})
		}}}
}

// GaleraNodes returns a pool for each node of a MariaDB Galera cluster, all on one fresh database. A node sees a moment
// later what another one wrote.
func GaleraNodes(tb testing.TB) []*sql.DB {
	tb.Helper()
	target := Galera()[0]
	first, err := mysql.ParseDSN(target.DSN(tb))
	require.NoError(tb, err)
	var pools []*sql.DB
	for _, dsn := range servers.Galera(tb) {
		execMySQL(tb, dsn, "SET STATEMENT wsrep_sync_wait = 15 FOR SELECT 1") // until the database is there
		node, err := mysql.ParseDSN(dsn)
		require.NoError(tb, err)
		node.DBName, node.ParseTime = first.DBName, true
		pools = append(pools, target.Connect(tb, node.FormatDSN()))
	}
	return pools
}
