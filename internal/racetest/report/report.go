// Package report says in words what was found and how much was explored. Its lines have at most 100 columns.
package report

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// Report is what there is to say of a Result.
type Report struct {
	test    string
	call    int // of Explore or MustFail in the test, from 1
	clients []string
	result  *explore.Result
}

// New returns the Report of a Result, which is that of a call in a test, counted from 1.
func New(test string, call int, clients []string, result *explore.Result) *Report {
	return &Report{test, call, clients, result}
}

// Schedule returns the failure's schedule, as Scenario.Replay takes it.
func (r *Report) Schedule() string { return r.schedule(r.result.Failure.Trace) }

func (r *Report) schedule(t *play.Trace) string {
	var parts []string
	for _, s := range explore.Segments(t.Choices()) {
		parts = append(parts, fmt.Sprintf("%s:%d", url.QueryEscape(r.clients[s.Client]), s.Steps))
	}
	return strings.Join(parts, " ")
}

// Replay returns the line that plays the failure again.
func (r *Report) Replay() string { return r.replay(r.result.Failure.Trace) }

func (r *Report) replay(t *play.Trace) string {
	var pattern []string
	for _, part := range strings.Split(r.test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	call := ""
	if r.call > 1 {
		call = fmt.Sprintf("#%d ", r.call)
	}
	return fmt.Sprintf("RACETEST_REPLAY=%s go test -run %s .", quoted(call+r.schedule(t)), quoted(strings.Join(pattern, "/")))
}

// quoted returns a word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// Failure tells of the failure.
func (r *Report) Failure() string {
	f := r.result.Failure
	d := r.diagnose()
	var b strings.Builder
	writeWrapped(&b, "racetest: ", d.Title)
	b.WriteString("\n")
	r.timeline(&b, f.Trace, d.marks)
	b.WriteString("\n")
	if p := f.Trace.Panic(); p != nil && p.Stack != "" {
		writeStack(&b, p.Stack)
	}
	if f.Check != nil {
		writeWrapped(&b, label("Check"), f.Check.Error())
	}
	for i, line := range r.Differences() {
		head := label("the end")
		if i > 0 {
			head = label("")
		}
		writeWrapped(&b, head, line)
	}
	for i, line := range d.Advice {
		head := label("close it")
		if i > 0 {
			head = label("")
		}
		writeWrapped(&b, head, line)
	}
	found := fmt.Sprintf("by schedule %d, after %s", f.Number, r.result.Elapsed.Round(time.Millisecond))
	if r.result.Trace != nil {
		found = "in the schedule that was asked for"
	}
	again := fmt.Sprintf("; replayed %d of %d", f.Replayed, f.Replays)
	if f.Trace.Leak != nil {
		again = "; not played again, because what is left open may hold locks"
	}
	writeWrapped(&b, label("found"), found+again)
	fmt.Fprintf(&b, "%s%s", label("replay"), r.Replay()) // not wrapped: it is to be copied
	return b.String()
}

func label(s string) string { return fmt.Sprintf("%-10s", s) }

// mostFrames are as many lines of a stack as are shown.
const mostFrames = 20

// writeStack writes where a client panicked.
func writeStack(b *strings.Builder, stack string) {
	head := label("stack")
	for i, line := range strings.Split(stack, "\n") {
		if i == mostFrames {
			break
		}
		writeWrapped(b, head, strings.TrimSpace(line))
		head = label("")
	}
}

// mostDifferences are as many as are told.
const mostDifferences = 6

// Differences says how the end differs from the nearest order of whole clients.
func (r *Report) Differences() []string { return r.differences(r.result.Failure.Verdict) }

func (r *Report) differences(v oracle.Verdict) (lines []string) {
	if v.OK() {
		return nil
	}
	for i, d := range v.Differences {
		if i == mostDifferences {
			return append(lines, fmt.Sprintf("and %d more differences", len(v.Differences)-i))
		}
		lines = append(lines, r.difference(d, v.Nearest))
	}
	return lines
}

func (r *Report) difference(d oracle.Difference, nearest []int) string {
	order := "every order of whole clients"
	if !d.Everywhere {
		order = "the nearest order of whole clients (" + r.order(nearest) + ")"
	}
	switch {
	case d.Client >= 0:
		return fmt.Sprintf("%s ends with: %s; in %s: %s", r.clients[d.Client], d.Got, order, d.Want)
	case d.Column != "":
		where := d.Table
		if d.Row != "" {
			where += ", " + d.Row
		}
		return fmt.Sprintf("%s: %s is %s; %s ends with %s", where, d.Column, d.Got, order, d.Want)
	case d.Want == "":
		return fmt.Sprintf("%s has a row that %s does not end with: %s", d.Table, order, d.Got)
	}
	return fmt.Sprintf("%s lacks a row that %s ends with: %s", d.Table, order, d.Want)
}

func (r *Report) order(clients []int) string {
	if len(clients) == 0 {
		return "nobody"
	}
	var names []string
	for _, c := range clients {
		names = append(names, r.clients[c])
	}
	return strings.Join(names, ", then ")
}

// Passed tells how much was explored.
func (r *Report) Passed() string {
	res := r.result
	var b strings.Builder
	if res.Trace != nil {
		b.WriteString("racetest: the schedule that was asked for does not fail\n\n")
		r.timeline(&b, res.Trace, nil)
		if res.Diverged > 0 {
			b.WriteString("\nIt could not be played as it was asked for: this is what the clients did.\n")
		}
		return b.String()
	}
	writeWrapped(&b, "racetest: ", r.explored())
	for _, note := range r.Notes() {
		writeWrapped(&b, "  - ", note)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (r *Report) explored() string {
	res := r.result
	classes := fmt.Sprintf("%d of %d classes", res.Classes, res.Classes)
	if !res.Complete {
		classes = fmt.Sprintf("%d of at least %d classes", res.Classes, res.Classes+res.Open)
	}
	return fmt.Sprintf("no failure in %d schedules of %d clients: %s, %s, %s; compared with %d orders of whole clients",
		res.Schedules, len(r.clients), classes, r.bound(), res.Elapsed.Round(time.Millisecond), res.Orders)
}

func (r *Report) bound() string {
	if r.result.Bound == 0 {
		return "any number of preemptions"
	}
	return fmt.Sprintf("at most %d preemptions", r.result.Bound)
}

// Notes says what else there is to know of what was explored.
func (r *Report) Notes() (notes []string) {
	res := r.result
	if len(res.Unsteady) > 0 {
		notes = append(notes, unsteady(res.Unsteady))
	}
	if !res.Complete {
		notes = append(notes, "not everything was explored: MaxSchedules or Budget was used up, or the clients did not always do the same")
	}
	if res.Refused > 0 {
		notes = append(notes, fmt.Sprintf("in %d schedules a client was refused: it ended in an error that no order of whole clients gives, and the others are as if it had not been", res.Refused))
	}
	if res.WhyNot != "" {
		notes = append(notes, "schedules of one class were played more than once: "+res.WhyNot)
	}
	if res.Diverged > 0 {
		notes = append(notes, fmt.Sprintf("in %d schedules the clients did other steps than in the same schedule before. The first was %s: %s in the place of %s. "+
			"If they don't always do the same on the same data, let them decide by what they read alone, not by random numbers or the time", res.Diverged,
			r.clients[res.Divergence.Client], orNone(res.Divergence.Now), orNone(res.Divergence.Before)))
	}
	if res.Doubts > 0 {
		notes = append(notes, fmt.Sprintf("%d schedules say nothing", res.Doubts))
	}
	if res.SetupShare > 0.5 && res.Setup > 3*time.Millisecond {
		notes = append(notes, fmt.Sprintf("Setup took %s each time, %.0f %% of all: DELETE and INSERT are faster than DROP and CREATE",
			res.Setup.Round(100*time.Microsecond), 100*res.SetupShare))
	}
	return append(notes, res.Remarks...)
}

func orNone(step string) string {
	if step == "" {
		return "no step"
	}
	return strings.Join(strings.Fields(step), " ")
}

// mostColumns are as many as are named.
const mostColumns = 4

// unsteady names the columns that Setup fills with other values each time.
func unsteady(columns []oracle.Unsteady) string {
	var names []string
	for i, c := range columns {
		if i == mostColumns {
			names = append(names, fmt.Sprintf("%d more", len(columns)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s.%s (%s, then %s)", c.Table, c.Column, value(c.First), value(c.Then)))
	}
	return fmt.Sprintf("Setup makes other values each time: %s. Of such values it counts only which rows have the same one, so that a lost update "+
		"of them is not seen: let Setup write the same values before each schedule", strings.Join(names, ", "))
}

// columns are how many characters a line has at most.
const columns = 100

// writeWrapped writes a text after a head, and indents its other lines.
func writeWrapped(b *strings.Builder, head, text string) {
	for i, line := range wrap(text, columns-len(head)) {
		if i > 0 {
			head = strings.Repeat(" ", len(head))
		}
		b.WriteString(strings.TrimRight(head+line, " "))
		b.WriteByte('\n')
	}
}

// wrap breaks a text into lines, at spaces where there are some.
func wrap(text string, width int) (lines []string) {
	for _, paragraph := range strings.Split(text, "\n") {
		line := []rune{}
		for _, w := range strings.Fields(paragraph) {
			word := []rune(w)
			if len(line) > 0 && len(line)+1+len(word) > width {
				lines = append(lines, string(line))
				line = line[:0:0]
			}
			if len(line) > 0 {
				line = append(line, ' ')
			}
			line = append(line, word...)
			for len(line) > width {
				lines = append(lines, string(line[:width]))
				line = slices.Clone(line[width:])
			}
		}
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines
}
