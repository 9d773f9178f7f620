//go:build unix

package idempotency_test

import (
	"context"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
)

// A COMMIT is held up on its way to one node, and the next try runs on another one. That it can insert the key says nothing about
// the first, which arrives in the end: a callback that fails then does not say that nothing was written.
func TestLostCommitOnAnotherNode(t *testing.T) {
	t.Parallel()
	matrix.EachCluster(t, func(t *testing.T, cluster matrix.Cluster) {
		dsn := cluster.DSN(t)
		proxy, through := cluster.Proxy(t, dsn)
		nodes, addrs := cluster.NodesOf(t, dsn), cluster.Addrs(t)
		db := cluster.Connect(t, through)
		db.SetMaxIdleConns(0) // each try has a connection of its own
		s := storeOf(t, db)
		exec(t, nodes[0], "%s", s.Schema(cluster.Dialect))
		exec(t, nodes[0], "CREATE TABLE payments (id VARCHAR(300) NOT NULL PRIMARY KEY, n INT NOT NULL)")
		cluster.CatchUp(t, nodes[1])
		ctx := within(t, 2*time.Minute)

		// try calls Do, whose first COMMIT is held up.
		try := func(key string, second func(context.Context, *sqlx.Tx) (receipt, error)) (receipt, error) {
			proxy.Redirect(addrs[0])
			runs, held := 0, proxy.HoldRequest(commits)
			got, _, err := s.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
				if runs++; runs > 1 {
					return second(ctx, tx)
				}
				proxy.Redirect(addrs[1])
				return pay(key, 1)(ctx, tx)
			})
			held.Await(t)
			require.Equal(t, 2, runs)
			return got, err
		}

		_, err := try("refused", func(context.Context, *sqlx.Tx) (receipt, error) { return receipt{}, errRefused })
		require.ErrorIs(t, err, errRefused)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		proxy.Pass()
		require.Eventually(t, func() bool { return payments(t, nodes[0]) == 1 }, time.Minute, 10*time.Millisecond, "the first COMMIT arrives")
		cluster.CatchUp(t, nodes[1])
		got, replayed, err := s.Do(ctx, "refused", func(context.Context, *sqlx.Tx) (receipt, error) { return receipt{}, errRefused })
		require.NoError(t, err)
		require.Equal(t, receipt{"refused", 1}, got)
		require.False(t, replayed, "nobody else has got it")

		got, err = try("paid", pay("paid", 2))
		require.NoError(t, err)
		require.Equal(t, receipt{"paid", 2}, got)
		proxy.Pass()
		for i, node := range nodes {
			cluster.CatchUp(t, node)
			require.Equal(t, 2, payments(t, node), i)
			require.Equal(t, 2, number(t, node, "SELECT n FROM payments WHERE id = 'paid'"), i)
		}
	})
}
