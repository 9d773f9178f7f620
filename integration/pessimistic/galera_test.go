//go:build unix

package pessimistic_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// On two nodes of a cluster FOR UPDATE does not keep callers apart. Certification ends the transactions that lose, and
// they are run again.
func TestGalera(t *testing.T) {
	nodes := matrix.GaleraNodes(t)
	createItems(t, nodes[0], 2)
	require.Eventually(t, func() bool {
		var n int
		return nodes[1].QueryRow("SELECT count(*) FROM items").Scan(&n) == nil && n == 2
	}, 10*time.Second, time.Millisecond)
	ctx := within(t, time.Minute)
	together(t, 10, func(i int) error {
		for range 10 {
			if err := pessimistic.WithRowLock(ctx, nodes[i%2], item(1), take(1)); err != nil {
				return err
			}
		}
		return nil
	})
	var stock int
	require.NoError(t, nodes[1].QueryRow("SET STATEMENT wsrep_sync_wait = 1 FOR SELECT stock FROM items WHERE id = 1").Scan(&stock))
	require.Zero(t, stock)

	err := pessimistic.WithNamedLock(ctx, nodes[0], "a", doNothing)
	require.ErrorContains(t, err, "Galera")
}
