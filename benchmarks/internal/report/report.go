//go:build unix

// Package report prints what was measured.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// Report is a whole run.
type Report struct {
	Machine Machine          `json:"machine"`
	Began   time.Time        `json:"began"`
	Took    string           `json:"took"`
	Plan    string           `json:"plan"`
	Missing []string         `json:"missing,omitempty"` // what was left out, and why
	Results []contest.Result `json:"results"`
}

// JSON writes all of it for machines.
func (r Report) JSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// Printer writes tables as they come.
type Printer struct {
	W        io.Writer
	Markdown bool
}

var columns = []string{"callers", "way", "calls/s", "lowest to highest", "ratio", "p50", "p99", "longest", "fairness", "CPU", "allocs", "failed", "wrong"}

// Title writes a heading.
func (p Printer) Title(level int, text string) {
	if p.Markdown {
		fmt.Fprintf(p.W, "\n%s %s\n\n", strings.Repeat("#", level), text)
		return
	}
	fmt.Fprintf(p.W, "\n%s\n\n", text)
}

// Text writes a paragraph.
func (p Printer) Text(text string) { fmt.Fprintf(p.W, "%s\n\n", text) }

// Table writes the results of one scenario on one place. first names the first column, whose value point returns.
func (p Printer) Table(first string, results []contest.Result, point func(contest.Result) int) {
	head := append([]string{first}, columns[1:]...)
	rows := make([][]string, len(results))
	for i, r := range results {
		rows[i] = append([]string{fmt.Sprint(point(r))}, cells(r)...)
	}
	if p.Markdown {
		p.markdown(head, rows)
	} else {
		p.text(head, rows)
	}
	for _, note := range notes(results) {
		p.Text(note)
	}
}

func (p Printer) markdown(head []string, rows [][]string) {
	fmt.Fprintf(p.W, "| %s |\n|---:|---|%s\n", strings.Join(head, " | "), strings.Repeat("---:|", len(head)-2))
	for _, row := range rows {
		fmt.Fprintf(p.W, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(p.W)
}

func (p Printer) text(head []string, rows [][]string) {
	w := tabwriter.NewWriter(p.W, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintf(w, "%s\t\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // as fmt.Print: nobody can be told that the output is gone
	fmt.Fprintln(p.W)
}

// cells are the columns after the first one.
func cells(r contest.Result) []string {
	ratio := ""
	switch {
	case r.Way == r.Base:
		ratio = "1"
	case r.Ratio.Median > 0:
		ratio = fmt.Sprintf("%s (%s to %s)", number(r.Ratio.Median), number(r.Ratio.Low), number(r.Ratio.High))
	}
	return []string{name(r), number(r.Rate.Median), number(r.Rate.Low) + " to " + number(r.Rate.High), ratio,
		duration(r.P50), duration(r.P99), duration(r.Longest), fmt.Sprintf("%.2f", r.Fairness), duration(r.CPUPerCall),
		number(r.AllocsPerCall), fmt.Sprint(r.Failed), wrong(r)}
}

func name(r contest.Result) string {
	switch r.Kind {
	case contest.Nogap:
		return "nogap " + r.Way
	case contest.Rival:
		return r.Way
	default:
		return string(r.Kind) + ": " + r.Way
	}
}

func wrong(r contest.Result) string {
	var what []string
	if r.Lost > 0 {
		what = append(what, fmt.Sprintf("%d lost", r.Lost))
	}
	if r.Extra > 0 {
		what = append(what, fmt.Sprintf("%d extra", r.Extra))
	}
	if len(what) == 0 {
		return "0"
	}
	return strings.Join(what, ", ") + fmt.Sprintf(" of %d", r.Calls)
}

// notes say what the errors of failed calls were.
func notes(results []contest.Result) (notes []string) {
	said := map[string]bool{}
	for _, r := range results {
		if r.Error != "" && !said[r.Way] {
			said[r.Way] = true
			notes = append(notes, fmt.Sprintf("Calls of %s failed, with: %s", r.Way, oneLine(r.Error)))
		}
	}
	return notes
}

func oneLine(text string) string {
	const most = 160
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

// number formats with three digits.
func number(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.995:
		return fmt.Sprintf("%.2g", x)
	case x < 9.95:
		return fmt.Sprintf("%.2f", x)
	case x < 99.5:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}

func duration(d time.Duration) string {
	switch us := float64(d) / 1e3; {
	case us == 0:
		return "0"
	case us < 999.5:
		return number(us) + " µs"
	case us < 999.5e3:
		return number(us/1e3) + " ms"
	default:
		return number(us/1e6) + " s"
	}
}
