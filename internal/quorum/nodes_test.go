package quorum

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunID(t *testing.T) {
	require.Equal(t, "abc", runID("# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\ntcp_port:6379\r\n"))
	require.Empty(t, runID("# Server\r\nredis_version:7.0.15\r\n"))
	require.Empty(t, runID(""))
}

func TestValuesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, ns := range []*Nodes{{process: "a"}, {process: "b"}} {
		for range 1000 {
			value := ns.nextValue()
			require.False(t, seen[value])
			seen[value] = true
		}
	}
}
