//go:build unix

package optimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// fight lets several processes, each with its own pool and Table, take from one row until each goroutine has done so the
// given number of times.
func fight(t *testing.T, pools []*sql.DB, goroutines, each int, opts ...optimistic.Option) {
	opts = append(opts, optimistic.WithKey("shop", "sku"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, db := range pools {
		items, err := optimistic.NewTable[counterRow](db, "items", opts...)
		require.NoError(t, err)
		for range goroutines {
			wg.Go(func() {
				for range each {
					if _, err := items.Modify(ctx, func(r *counterRow) error { r.Stock--; return nil }, "north", 1); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	n := int64(len(pools) * goroutines * each)
	// A node of a cluster sees a moment later what another one wrote.
	require.Eventually(t, func() bool { return value[int64](t, pools[0], "SELECT version FROM items") == n },
		time.Minute, 10*time.Millisecond)
	require.Equal(t, 10-n, value[int64](t, pools[0], stockNow))
}

const counterColumn = ", version BIGINT NOT NULL DEFAULT 0"

func TestProcesses(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for name, opts := range map[string][]optimistic.Option{"unlocked": nil, "locked": {optimistic.LockAfter(1)}} {
			t.Run(name, func(t *testing.T) {
				dsn := target.DSN(t)
				pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
				create(t, pools[0], counterColumn)
				fight(t, pools, 8, 6, opts...)
			})
		}
	})
}

// TestClusterNodes: a rival on another node is met at COMMIT, lock or no lock.
func TestClusterNodes(t *testing.T) { matrix.EachCluster(t, testClusterNodes) }

func testClusterNodes(t *testing.T, cluster matrix.Cluster) {
	for name, opts := range map[string][]optimistic.Option{"unlocked": nil, "locked": {optimistic.LockAfter(1)}} {
		t.Run(name, func(t *testing.T) {
			nodes := cluster.Nodes(t)
			create(t, nodes[0], counterColumn)
			cluster.CatchUp(t, nodes[1])
			fight(t, nodes, 4, 4, opts...)
		})
	}
}

// TestLockAfterKeepsRivalsOut: in the turn with the lock nobody else gets to the row.
func TestLockAfterKeepsRivalsOut(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn)
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.LockAfter(1))
		require.NoError(t, err)
		calls := 0
		var rival chan error
		_, err = items.Modify(t.Context(), func(r *counterRow) error {
			calls++
			rivals := func() error {
				return write(t.Context(), db, "UPDATE items SET stock = stock + 100, version = version + 1")
			}
			if calls == 1 {
				r.Stock--
				return rivals()
			}
			rival = make(chan error, 1)
			go func() { rival <- rivals() }()
			select {
			case <-rival:
				return errors.New("the rival got in")
			case <-time.After(50 * time.Millisecond): // as long as we look
			}
			r.Stock--
			return nil
		}, "north", 1)
		require.NoError(t, err)
		require.NoError(t, <-rival)
		require.Equal(t, 2, calls)
		require.EqualValues(t, 209, value[int64](t, db, stockNow))
	})
}

func write(ctx context.Context, db *sql.DB, query string) error {
	_, err := db.ExecContext(ctx, query)
	return err
}

// TestGivesUp: every attempt meets a rival.
func TestGivesUp(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn)
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.MaxAttempts(3))
		require.NoError(t, err)
		_, err = items.Modify(t.Context(), func(r *counterRow) error {
			r.Stock--
			return write(t.Context(), db, "UPDATE items SET version = version + 1")
		}, "north", 1)
		require.ErrorIs(t, err, optimistic.ErrVersionConflict)
		require.ErrorIs(t, err, optimistic.ErrRetriesExhausted)
		var conflict *optimistic.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, 3, conflict.Attempts)
		require.EqualValues(t, 2, conflict.Version)
	})
}
