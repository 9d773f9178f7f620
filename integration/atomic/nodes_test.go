//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// TestSingleUseBetweenNodes: of callers on all nodes of a cluster one gets the row, whether the driver prepares or not.
func TestSingleUseBetweenNodes(t *testing.T) {
	matrix.EachCluster(t, func(t *testing.T, cluster matrix.Cluster) {
		dsn := cluster.DSN(t)
		for name, dsn := range map[string]string{"preparing": cluster.Preparing(t, dsn), "as it is": dsn} {
			for way, opts := range map[string][]atomic.Option{"used": {usedAt, expiresAt}, "deleted": {atomic.DeleteUsed()}} {
				t.Run(name+" "+way, func(t *testing.T) {
					nodes := cluster.NodesOf(t, dsn)
					exec(t, nodes[0], "DROP TABLE IF EXISTS resets")
					resets(t, nodes[0], "DATETIME(6)")
					var uses []*atomic.SingleUse[reset]
					for _, node := range nodes {
						uses = append(uses, newResets(t, node, opts...))
					}
					for i := range 10 {
						code := fmt.Sprint("code-", i)
						addReset(t, nodes[0], cluster.Target, code, time.Now().Add(time.Hour))
						for _, node := range nodes {
							cluster.CatchUp(t, node)
						}
						oneWinner(t, func(i int) error {
							_, err := uses[i%len(uses)].Use(context.Background(), code)
							return err
						})
					}
				})
			}
		}
	})
}

// TestCreateMissingBetweenNodes: callers on all nodes begin a series, and each gets a number of its own.
func TestCreateMissingBetweenNodes(t *testing.T) {
	matrix.EachCluster(t, func(t *testing.T, cluster matrix.Cluster) {
		nodes := cluster.Nodes(t)
		series(t, nodes[0], "BIGINT")
		for _, node := range nodes {
			cluster.CatchUp(t, node)
		}
		var counters []*atomic.Counter[int64]
		for _, node := range nodes {
			counters = append(counters, newNumbers[int64](t, node))
		}
		for month := range 6 {
			key := fmt.Sprint("month-", month)
			gapless(t, 20, func(i int) (int64, error) {
				return counters[i%len(counters)].Increment(context.Background(), 1, key)
			})
			cluster.CatchUp(t, nodes[1])
			require.EqualValues(t, 20, value[int64](t, nodes[1], "SELECT n FROM numbers WHERE series = '"+key+"'"))
		}
	})
}

// Behind PgBouncer, and on the first node of a cluster in a transaction.
func TestOptionsElsewhere(t *testing.T) {
	matrix.Run(t, append(matrix.PgBouncer(), matrix.Clusters()...), func(t *testing.T, target matrix.Target) {
		t.Run("SingleUse", func(t *testing.T) {
			db := target.Open(t)
			resets(t, db, timeTypes(target)[0])
			testSingleUse(t, target, db, true)
		})
		t.Run("CreateMissing", func(t *testing.T) { testCreateMissing[int64](t, target, "BIGINT", 3, 4, 0) })
		t.Run("CreateMissing of decimals", func(t *testing.T) { testCreateMissing(t, target, "NUMERIC(10,2)", "3", "4", "0") })
		t.Run("gapless", func(t *testing.T) {
			db := target.Open(t)
			series(t, db, "BIGINT")
			c := newNumbers[int64](t, db)
			for _, key := range []string{"a", "b", "c"} {
				gapless(t, 20, func(int) (n int64, err error) {
					var tx *sql.Tx
					if tx, err = db.Begin(); err != nil {
						return 0, err
					}
					defer tx.Rollback()
					if n, err = c.WithTx(tx).Increment(context.Background(), 1, key); err != nil {
						return 0, err
					}
					return n, tx.Commit()
				})
			}
		})
	})
}
