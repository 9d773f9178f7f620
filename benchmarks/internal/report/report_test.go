//go:build unix

package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

func results() []contest.Result {
	return []contest.Result{
		{Way: "hand", Kind: contest.ByHand, Size: contest.Size{Callers: 16}, Rate: contest.Spread{Median: 1000, Low: 900, High: 1100}, Base: "hand",
			P99: 1500 * time.Microsecond, Calls: 500},
		{Way: "fast", Kind: contest.Naive, Size: contest.Size{Callers: 16}, Rate: contest.Spread{Median: 2000}, Base: "hand",
			Ratio: contest.Spread{Median: 2, Low: 1.5, High: 2.5}, Calls: 500, Lost: 7, Failed: 1, Error: "line\nbreak"},
	}
}

func callers(r contest.Result) int { return r.Callers }

// What a way got wrong stands in its row, in both forms of the table.
func TestTable(t *testing.T) {
	for _, markdown := range []bool{false, true} {
		var out bytes.Buffer
		Printer{W: &out, Markdown: markdown}.Table("callers", results(), callers)
		for _, want := range []string{"by hand: hand", "naive: fast", "2.00 (1.50 to 2.50)", "7 lost of 500", "1.50 ms", "line break"} {
			require.Contains(t, out.String(), want)
		}
	}
	var out bytes.Buffer
	Printer{W: &out, Markdown: true}.Table("callers", results(), callers)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[:4] {
		require.Equal(t, strings.Count(lines[0], "|"), strings.Count(line, "|"), line)
	}
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.0123: "0.012", 1: "1.00", 12.34: "12.3", 123.4: "123", 5e6: "5000000"} {
		require.Equal(t, want, number(x))
	}
	for d, want := range map[time.Duration]string{0: "0", 1500: "1.50 µs", 2 * time.Millisecond: "2.00 ms", 90 * time.Second: "90.0 s"} {
		require.Equal(t, want, duration(d))
	}
}

// The page has the numbers in a table too, and its texts are escaped.
func TestCharts(t *testing.T) {
	var out bytes.Buffer
	charts := []Chart{{Title: "a <b>", Axis: "callers", Results: results(), Point: callers}}
	require.NoError(t, Report{}.Charts(&out, "/* the library */", charts))
	page := out.String()
	require.Contains(t, page, "/* the library */")
	require.Contains(t, page, "a &lt;b&gt;")
	require.NotContains(t, page, "a <b>")
	require.Contains(t, page, "<td>naive: fast</td><td>16</td><td>2000</td>")
	require.Contains(t, page, `"name":"naive: fast"`)
}
