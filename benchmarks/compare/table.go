//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// measure is a column of a result that is compared.
type measure struct {
	name string
	of   func(contest.Result) float64
}

var measures = []measure{
	{"calls/s", func(r contest.Result) float64 { return r.Rate.Median }},
	{"p99 (ns)", func(r contest.Result) float64 { return float64(r.P99) }},
	{"CPU (ns/call)", func(r contest.Result) float64 { return float64(r.CPUPerCall) }},
	{"allocs/call", func(r contest.Result) float64 { return r.AllocsPerCall }},
	{"lost and extra", func(r contest.Result) float64 { return float64(r.Lost + r.Extra) }},
}

// row names what one line of the table is of.
type row struct{ measure, result string }

// samples are the values of all runs of one checkout.
type samples map[row][]float64

func (s samples) add(r contest.Result) {
	for _, m := range measures {
		key := row{m.name, r.FullName()}
		s[key] = append(s[key], m.of(r))
	}
}

// write prints a table for each measure.
func write(out io.Writer, before, after samples) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range measures {
		fmt.Fprintf(w, "\n%s\tbefore\t\tafter\t\tchange\t\n", m.name)
		for _, key := range names(before, after, m.name) {
			fmt.Fprintf(w, "%s\t%s\n", key.result, line(before[key], after[key]))
		}
	}
	return w.Flush()
}

func names(before, after samples, measure string) (keys []row) {
	all := maps.Clone(before)
	maps.Copy(all, after)
	for key := range all {
		if key.measure == measure {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b row) int {
		if a.result < b.result {
			return -1
		}
		return 1
	})
	return keys
}

// line compares two samples. Nothing is assumed of how they are distributed.
func line(before, after []float64) string {
	if len(before) == 0 || len(after) == 0 {
		return "measured in one of the two only"
	}
	thresholds := benchmath.DefaultThresholds
	a := benchmath.NewSample(slices.Clone(before), &thresholds)
	b := benchmath.NewSample(slices.Clone(after), &thresholds)
	sa, sb := benchmath.AssumeNothing.Summary(a, 0.95), benchmath.AssumeNothing.Summary(b, 0.95)
	c := benchmath.AssumeNothing.Compare(a, b)
	return fmt.Sprintf("%.4g\t%s\t%.4g\t%s\t%s\t%s", sa.Center, sa.PctRangeString(), sb.Center, sb.PctRangeString(),
		c.FormatDelta(sa.Center, sb.Center), c)
}
