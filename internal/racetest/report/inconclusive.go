package report

import (
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/racetest/oracle"
)

// Inconclusive tells why nothing can be said: the first schedule that says nothing, what was seen of it, and what to do.
func (r *Report) Inconclusive() string {
	res := r.result
	var b strings.Builder
	doubt := res.Doubt
	why := res.Inconclusive()
	if doubt.Why == "" && doubt.Trace != nil {
		why = r.order(doubt.Verdict.Varies.Order) + ", one after the other, did not always end alike, so that nothing can be said of a schedule that differs " +
			"from them. Let the clients do the same each time: a fixed seed for what is random, a fixed time. Scenario.Ignore names columns that don't matter"
	}
	writeWrapped(&b, "racetest: ", "inconclusive: "+why)
	if doubt.Trace != nil {
		b.WriteString("\n")
		r.timeline(&b, doubt.Trace, nil)
		b.WriteString("\n")
		for i, line := range r.doubtful(doubt.Verdict) {
			head := label("differs")
			if i > 0 {
				head = label("")
			}
			writeWrapped(&b, head, line)
		}
		fmt.Fprintf(&b, "%s%s\n", label("replay"), r.replay(doubt.Trace))
	}
	writeWrapped(&b, label("so far"), r.explored())
	for _, note := range r.Notes() {
		writeWrapped(&b, label("")+"- ", note)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// doubtful says how an order of whole clients varies, or else how the schedule differs from the nearest one.
func (r *Report) doubtful(v oracle.Verdict) (lines []string) {
	if v.Varies == nil {
		return r.differences(v)
	}
	for _, d := range v.Varies.Differences {
		switch {
		case d.Client >= 0:
			lines = append(lines, fmt.Sprintf("%s ends with: %s; the first time: %s", r.clients[d.Client], d.Got, d.Want))
		case d.Column != "":
			lines = append(lines, fmt.Sprintf("%s: %s is %s; the first time %s", strings.TrimSuffix(d.Table+", "+d.Row, ", "), d.Column, d.Got, d.Want))
		case d.Want == "":
			lines = append(lines, fmt.Sprintf("%s has a row that was not there the first time: %s", d.Table, d.Got))
		default:
			lines = append(lines, fmt.Sprintf("%s lacks a row that was there the first time: %s", d.Table, d.Want))
		}
	}
	return lines[:min(len(lines), mostDifferences)]
}
