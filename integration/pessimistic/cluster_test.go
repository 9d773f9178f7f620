//go:build unix

package pessimistic_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// On two nodes of a cluster FOR UPDATE does not keep callers apart. Certification ends the transactions that lose, and
// they are run again.
func TestCluster(t *testing.T) { matrix.EachCluster(t, testCluster) }

func testCluster(t *testing.T, cluster matrix.Cluster) {
	nodes := cluster.Nodes(t)
	createItems(t, nodes[0], 2)
	cluster.CatchUp(t, nodes[1])
	ctx := concurrent.Within(t, time.Minute)
	concurrent.Run(t, 10, func(i int) error {
		for range 10 {
			if err := pessimistic.WithRowLock(ctx, nodes[i%2], item(1), take(1)); err != nil {
				return err
			}
		}
		return nil
	})
	cluster.CatchUp(t, nodes[1])
	require.Zero(t, stockOf(t, nodes[1], 1))
}

// A named lock is local to a node too, and there is nothing that a rerun could mend.
func TestNamedLockOnGalera(t *testing.T) {
	matrix.Run(t, matrix.Clusters()[:1], func(t *testing.T, target matrix.Target) {
		err := pessimistic.WithNamedLock(concurrent.Within(t, time.Minute), target.Open(t), "a", doNothing)
		require.ErrorContains(t, err, "Galera")
	})
}
