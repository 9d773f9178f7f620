package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// width is how many columns the table has at most.
const width = 80

// A table prints results one below the other.
type table struct {
	w      io.Writer
	colour bool
}

// newTable returns a table in colour on a terminal, unless NO_COLOR is set: see https://no-color.org.
func newTable(to screen) *table {
	return &table{w: to.out, colour: isTerminal(to.stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// The colours of the terminal's own palette, which is readable on its own background.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

// paint returns the text in the colour, if there is to be any.
func (t *table) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// header begins the table of a story.
func (t *table) header(st *story, c config, e effort) {
	fmt.Fprintf(t.w, "%s\n", t.paint(bold, fmt.Sprintf(st.scene, c.buyers, c.stock)))
	fmt.Fprintf(t.w, "%s on %s. %s\n", count(int64(c.servers), "API server"), c.database.dialect, e.repeats())
	fmt.Fprintf(t.w, "Each asks a fraud service over HTTP before it writes: no sleep in the gap.\n\n")
}

// repeats says how often a strategy holds the sale, and which of them a row shows.
func (e effort) repeats() string {
	switch e.rounds {
	case 0:
		return fmt.Sprintf("A row is the median of all sales in %d × %s.", e.turns, seconds(e.main/time.Duration(e.turns)))
	case 1:
		return "A row is one sale."
	}
	return fmt.Sprintf("A row is the median of %d sales.", e.rounds)
}

// columns heads the rows of a story.
func (t *table) columns(st *story) {
	fmt.Fprintf(t.w, "%s\n", t.paint(dim, fmt.Sprintf("%-20s %5s %5s %8s %8s %8s  %s",
		"strategy", st.words.column, st.words.rest, "req/s", "p50", "p99", "verdict")))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2g s", d.Seconds()) }

// row prints a result and, if its books are not in order, what that means.
func (t *table) row(o outcome) {
	colour := green
	if o.unsound() != nil {
		colour = red
	}
	fmt.Fprintf(t.w, "%-20s %5d %5d %8s %8s %8s  %s\n", o.Strategy, o.Sold, o.rest(),
		thousands(o.PerSecond), wait(o.P50), wait(o.P99), t.paint(colour, o.verdict()))
	if text := o.whatIsWrong(); text != "" {
		t.paragraph("  ", text)
	}
	if o.race != nil {
		t.race(*o.race, o.words)
	}
}

// race prints the timeline of a race.
func (t *table) race(r race, w *words) {
	fmt.Fprintf(t.w, "\n  One race: %s\n", t.paint(bold, r.summary(w)))
	for _, m := range r.timeline(w) {
		fmt.Fprintf(t.w, "  %9s  %-12s %s  %s\n", wait(milliseconds(m.at)), m.buyer,
			t.paint(dim, fmt.Sprintf("server %d", m.server)), m.does)
	}
	fmt.Fprintln(t.w)
}

// advice ends the table of a story.
func (t *table) advice(sentences []string, code string) {
	fmt.Fprintln(t.w)
	t.paragraph("", strings.Join(sentences, " "))
	t.paragraph("", code)
}

// paragraph prints a text in lines that are not wider than the table. It breaks none of its words.
func (t *table) paragraph(indent, text string) {
	line := ""
	flush := func() { fmt.Fprintf(t.w, "%s%s\n", indent, line) }
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(indent+line+" "+word) > width:
			flush()
			line = word
		default:
			line += " " + word
		}
	}
	flush()
}

// thousands returns a number with a comma for each thousand.
func thousands(f float64) string {
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// wait returns a number of milliseconds with three digits.
func wait(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.2f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// writeJSON prints the results as one array.
func writeJSON(w io.Writer, results []result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(results)
}
