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

// Cluster is a database of several nodes that all take writes. A node sees a moment later what another one wrote, row
// locks are local to a node, and of two transactions that changed one row on two nodes the second one to commit loses.
type Cluster struct {
	Target // its first node

	nodes   func(testing.TB) (dsns []string)
	waiting string // a setting of a session that has a SELECT wait until the node has applied what was written before
	usual   string
}

// EachCluster runs a test on every kind of cluster, one after the other.
func EachCluster(t *testing.T, test func(*testing.T, Cluster)) {
	t.Helper()
	for _, cluster := range append([]Cluster{Galera()}, groupReplication()...) {
		t.Run(cluster.Name, func(t *testing.T) { test(t, cluster) })
	}
}

// Clusters returns the first node of every kind of cluster, for tests that don't care about the others.
func Clusters() []Target {
	targets := []Target{Galera().Target}
	for _, cluster := range groupReplication() {
		targets = append(targets, cluster.Target)
	}
	return targets
}

// Galera returns MariaDB Galera. Its driver prepares nothing, since what needs a transaction is refused otherwise.
func Galera() Cluster {
	cluster := newCluster("galera", nogap.MariaDB, servers.Galera, "wsrep_sync_wait = 15", "wsrep_sync_wait = 0")
	cluster.fresh = func(tb testing.TB) string {
		tb.Helper()
		return createMySQL(tb, servers.Galera(tb)[0], func(config *mysql.Config) { config.InterpolateParams = true })
	}
	return cluster
}

// Preparing returns the DSN that has the driver prepare what has arguments, for one that DSN returned.
func (cluster Cluster) Preparing(tb testing.TB, dsn string) string {
	tb.Helper()
	config, err := mysql.ParseDSN(dsn)
	require.NoError(tb, err)
	config.InterpolateParams = false
	return config.FormatDSN()
}

// groupReplication returns MySQL Group Replication with two primaries, and nothing where there is no MySQL or
// All returns none.
func groupReplication() []Cluster {
	if servers.Newest() || !servers.HasGroupReplication() {
		return nil
	}
	return []Cluster{newCluster("group-replication", nogap.MySQL, servers.GroupReplication,
		"group_replication_consistency = 'BEFORE'", "group_replication_consistency = DEFAULT")}
}

func newCluster(name string, dialect nogap.Dialect, nodes func(testing.TB) []string, waiting, usual string) Cluster {
	return Cluster{nodes: nodes, waiting: waiting, usual: usual, Target: Target{
		Name: name, Dialect: dialect, Driver: "mysql", maxOpen: serverPool,
		fresh: func(tb testing.TB) string {
			tb.Helper()
			return createMySQL(tb, nodes(tb)[0], func(*mysql.Config) {})
		},
	}}
}

// Nodes returns a pool for each node, all on one fresh database.
func (cluster Cluster) Nodes(tb testing.TB) []*sql.DB {
	tb.Helper()
	return cluster.NodesOf(tb, cluster.DSN(tb))
}

// NodesOf returns a pool for each node, all on the database of a DSN that DSN returned.
func (cluster Cluster) NodesOf(tb testing.TB, dsn string) []*sql.DB {
	tb.Helper()
	first, err := mysql.ParseDSN(dsn)
	require.NoError(tb, err)
	var pools []*sql.DB
	for _, dsn := range cluster.nodes(tb) {
		node, err := mysql.ParseDSN(dsn)
		require.NoError(tb, err)
		server, err := sql.Open(cluster.Driver, dsn)
		require.NoError(tb, err)
		cluster.CatchUp(tb, server) // until the database is there
		require.NoError(tb, server.Close())
		node.DBName, node.ParseTime, node.InterpolateParams = first.DBName, true, first.InterpolateParams
		pools = append(pools, cluster.Connect(tb, node.FormatDSN()))
	}
	require.Greater(tb, len(pools), 1)
	return pools
}

// Addrs returns where the nodes listen, host:port.
func (cluster Cluster) Addrs(tb testing.TB) (addrs []string) {
	tb.Helper()
	for _, dsn := range cluster.nodes(tb) {
		node, err := mysql.ParseDSN(dsn)
		require.NoError(tb, err)
		addrs = append(addrs, node.Addr)
	}
	return addrs
}

// CatchUp waits until a node has applied what was written on the others.
func (cluster Cluster) CatchUp(tb testing.TB, node *sql.DB) {
	tb.Helper()
	conn, err := node.Conn(tb.Context())
	require.NoError(tb, err)
	defer conn.Close()
	// A SELECT from no table would not wait on Group Replication.
	for _, statement := range []string{"SET SESSION " + cluster.waiting, "SELECT count(*) FROM mysql.user", "SET SESSION " + cluster.usual} {
		_, err := conn.ExecContext(tb.Context(), statement)
		require.NoError(tb, err)
	}
}
