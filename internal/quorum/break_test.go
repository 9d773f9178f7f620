package quorum_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/quorum"
)

// A key that something else has set to the empty string is a lock that is held, as SET NX sees it.
func TestEmptyValue(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		for _, s := range servers {
			s.keys["a"] = ""
		}
		_, _, failed := ns.Acquire(t.Context(), "a")
		require.True(t, failed.Held())
		state, failed := ns.Inspect(t.Context(), "a")
		require.Nil(t, failed)
		require.True(t, state.Held)
		require.Positive(t, state.Left)
		held, failed := ns.Break(t.Context(), "a", ignore)
		require.Nil(t, failed)
		require.True(t, held)
		for _, s := range servers {
			require.False(t, s.held("a"))
		}
	})
}
