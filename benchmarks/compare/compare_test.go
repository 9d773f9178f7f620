//go:build unix

package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// A change that all runs agree on is told, and one that they don't agree on is not.
func TestTable(t *testing.T) {
	before, after := samples{}, samples{}
	for i := range 10 {
		noise := float64(i)
		before.add(contest.Result{Scenario: "a", Way: "w", Rate: contest.Spread{Median: 1000 + noise}, AllocsPerCall: 20 + noise})
		after.add(contest.Result{Scenario: "a", Way: "w", Rate: contest.Spread{Median: 500 + noise}, AllocsPerCall: 29 - noise})
	}
	var out bytes.Buffer
	require.NoError(t, write(&out, before, after))
	require.Regexp(t, `calls/s.*\n.*a//0 callers/w +1004 .* 504\.5 .* -49\.\d+% +p=0\.000 n=10`, out.String())
	require.Regexp(t, `allocs/call.*\n.*a//0 callers/w .*~ +p=`, out.String())

	delete(after, row{"calls/s", "a//0 callers/w"})
	out.Reset()
	require.NoError(t, write(&out, before, after))
	require.Contains(t, out.String(), "one of the two only")
}

func TestArguments(t *testing.T) {
	s, err := parse([]string{"-only", "counter", "-count", "5", "a", "b"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "a", s.before)
	require.Equal(t, "b", s.after)
	for _, args := range [][]string{{"a", "b"}, {"-only", "x", "a"}, {"-only", "x", "-count", "0", "a", "b"}} {
		_, err := parse(args, io.Discard)
		require.Error(t, err, args)
	}
}
