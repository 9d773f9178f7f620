//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/report"
	"github.com/nogap-go/nogap/benchmarks/internal/scenarios"
)

// One row of each table, on servers in this process, in rounds of a millisecond: the program works. It says nothing of speed.
func TestProgram(t *testing.T) {
	page := filepath.Join(t.TempDir(), "charts.html")
	o, err := parse([]string{"-quick", "-json", "-rounds", "1", "-round", "1ms", "-charts", page}, io.Discard)
	require.NoError(t, err)
	o.inMemory, o.callers = true, []int{2}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out, t.Output()), "%s", &out)

	var r report.Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	names, cut := map[string]bool{}, map[string]bool{}
	for _, sc := range scenarios.All {
		cut[sc.Name] = sc.CutWaits // a busy machine may end a round before the first call does
	}
	for _, result := range r.Results {
		if result.Curve == "" {
			names[result.Scenario] = true
		} else {
			names[result.Curve] = true
		}
		if result.Kind == contest.Nogap {
			if !cut[result.Scenario] {
				require.Positive(t, result.Calls, "%+v", result)
			}
			require.Zero(t, result.Failed, "%+v", result)
			require.Zero(t, result.Lost+result.Extra, "%+v", result)
		}
	}
	for _, sc := range scenarios.All {
		require.True(t, names[sc.Name], sc.Name)
	}
	charts, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(charts), "Chart.js", "the library is in the page")
	for _, c := range scenarios.Curves {
		require.True(t, names[c.Name], c.Name)
		require.Contains(t, string(charts), c.Title)
	}
}

// What cannot be measured is an error, and not an empty table.
func TestNothingToMeasure(t *testing.T) {
	o, err := parse([]string{"-only", "no such way"}, io.Discard)
	require.NoError(t, err)
	require.ErrorContains(t, run(t.Context(), o, io.Discard, io.Discard), "-list")

	for _, args := range [][]string{{"-only", "("}, {"-rounds", "-1"}, {"quick"}} {
		_, err := parse(args, io.Discard)
		require.Error(t, err, args)
	}
}

func TestDefaults(t *testing.T) {
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 5, o.plan.Rounds)
	require.Equal(t, 500*time.Millisecond, o.plan.Round)
	require.Equal(t, []int{1, 16, 100, 500}, o.callers)
}
