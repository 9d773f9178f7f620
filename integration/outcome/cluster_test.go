//go:build unix

package outcome_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// Calls are made on three nodes of a cluster, transfers crosswise among them. One node is killed and joins again, and one leaves
// the others in the midst of transactions, refuses everything with error 1047, and comes back.
//
// Three servers take long to start and to come back, so the nodes fail in the long form only. In the short one
// txn.TestNodeLeavesThePrimaryComponent and the tests of package together are on clusters.
func TestGaleraNodesFail(t *testing.T) {
	t.Parallel()
	if !long {
		return
	}
	nodes := servers.StartGalera(t, 3)
	c := newClusterStorm(t, matrix.Galera().Target, "galera", nodes, "wsrep_sync_wait = 15")
	for range rounds() {
		c.under(t, "node killed", func() {
			nodes[2].Kill(t)
			c.pause(t)
			nodes[2].Restart(t)
		})
		c.under(t, "node cut off", func() {
			execute(t, c.admins[1], "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
			require.Eventually(t, func() bool {
				_, err := c.admins[1].ExecContext(t.Context(), "SELECT count(*) FROM items")
				var refused *mysql.MySQLError
				return errors.As(err, &refused) && refused.Number == 1047
			}, patience, 10*time.Millisecond)
			c.pause(t)
			execute(t, c.admins[1], "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
			require.Eventually(t, func() bool {
				_, err := c.admins[1].ExecContext(t.Context(), "SELECT count(*) FROM items")
				return err == nil
			}, patience, 10*time.Millisecond)
		})
	}
	c.audit(t)
}

// Of three primaries of a group one is killed and joins again.
func TestGroupMemberFails(t *testing.T) {
	t.Parallel()
	if !long || servers.Newest() || !servers.HasGroupReplication() {
		return
	}
	members := servers.StartGroupReplication(t, 3)
	c := newClusterStorm(t, matrix.MySQL()[0], "group-replication", members, "group_replication_consistency = 'BEFORE'")
	for range rounds() {
		c.under(t, "node killed", func() {
			members[2].Kill(t)
			c.pause(t)
			members[2].RejoinGroup(t, members[0])
		})
	}
	c.audit(t)
}

// rounds is how often each fault strikes a cluster.
func rounds() int { return max(1, *calls/2000) }

// clusterStorm is a storm on the nodes of a cluster.
type clusterStorm struct {
	*storm
	admins  []*sql.DB // a connection to each node
	clients []*client
	most    int64  // how many calls may be made by the end of this fault
	upToNow string // a setting of a session that has a SELECT wait for what was written before
}

func newClusterStorm(t *testing.T, target matrix.Target, name string, nodes []*servers.Server, upToNow string) *clusterStorm {
	t.Helper()
	target.Name = name
	c := &clusterStorm{upToNow: upToNow}
	var dsns []string
	for i, node := range nodes {
		config, err := mysql.ParseDSN(node.DSN)
		require.NoError(t, err)
		if i == 0 {
			createDatabase(t, target, node, "storm")
		}
		config.DBName, config.ParseTime, config.InterpolateParams = "storm", true, true
		dsns = append(dsns, config.FormatDSN())
	}
	c.storm = newStormAt(t, target, dsns[0], "cluster", *calls, callsOnClusters)
	for i, dsn := range dsns {
		admin := c.direct
		if i > 0 {
			var err error
			admin, err = sql.Open(target.Driver, dsn)
			require.NoError(t, err)
			t.Cleanup(func() { _ = admin.Close() }) // a driver may complain of what was broken
			admin.SetMaxOpenConns(1)
		}
		c.admins = append(c.admins, admin)
		c.wait(t, i)
		c.clients = append(c.clients, c.connect(t, dsn))
	}
	return c
}

// callsOnClusters are the calls that a cluster does not refuse: it has no named locks.
func callsOnClusters(dialect nogap.Dialect, db *sql.DB) ([]call, error) {
	calls, err := newCalls(dialect, db)
	return slices.DeleteFunc(calls, func(c call) bool { return c.name == "pessimistic.WithNamedLock" }), err
}

// wait waits until a node has applied what was written on the others.
func (c *clusterStorm) wait(t *testing.T, node int) {
	t.Helper()
	ctx := concurrent.Within(t, patience)
	require.Eventually(t, func() bool {
		_, err := c.admins[node].ExecContext(ctx, "SET SESSION "+c.upToNow)
		if err == nil {
			var n int
			err = c.admins[node].QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&n)
		}
		return err == nil
	}, patience, 10*time.Millisecond)
}

// under makes calls on all nodes while f runs.
func (c *clusterStorm) under(t *testing.T, fault string, f func()) {
	t.Helper()
	begun := c.next.Load()
	c.most = min(int64(c.ids), begun+int64(c.ids/(2*rounds())))
	ctx, stop := context.WithCancel(concurrent.Within(t, 5*patience))
	var callers sync.WaitGroup
	for _, client := range c.clients {
		for range workers / 2 {
			callers.Go(func() {
				for ctx.Err() == nil && c.next.Load() < c.most {
					call, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
					err, ok := c.call(call, client, fault)
					cancel()
					if !ok {
						return
					}
					if err != nil { // a node that is down refuses at once
						time.Sleep(100 * time.Millisecond)
					}
				}
			})
		}
	}
	c.pause(t)
	f()
	c.struck(fault, 1)
	c.pause(t)
	stop()
	callers.Wait()
	require.Greater(t, c.next.Load(), begun+20)
}

// pause lets some calls be made.
func (c *clusterStorm) pause(t *testing.T) {
	t.Helper()
	begun := c.next.Load()
	require.Eventually(t, func() bool { return c.next.Load() >= min(begun+20, c.most) }, patience, time.Millisecond)
}

// audit compares what every node has.
func (c *clusterStorm) audit(t *testing.T) {
	t.Helper()
	for _, client := range c.clients {
		client.db.SetMaxIdleConns(-1)
	}
	for i, admin := range c.admins {
		c.wait(t, i)
		if i > 0 {
			c.settleOn(t, admin)
		}
	}
	c.storm.audit(t, c.clients...)
	there := look(t, c.Target, c.direct)
	for i, admin := range c.admins {
		c.wait(t, i)
		require.Equal(t, there, look(t, c.Target, admin), "what node %d has", i)
	}
}
