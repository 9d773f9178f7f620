package quorum

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInfoField(t *testing.T) {
	const info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\ntcp_port:6379\r\n"
	require.Equal(t, "abc", infoField(info, "run_id"))
	require.Empty(t, infoField("# Server\r\nredis_version:7.0.15\r\n", "run_id"))
	require.Empty(t, infoField("", "run_id"))
}

func TestLabel(t *testing.T) {
	for label, want := range map[string]string{"": "", "cron-7": "cron-7", "a b": "a b", " ": " "} {
		ns := Nodes{process: "p", label: label}
		require.Equal(t, want, labelOf(ns.nextValue()))
	}
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
