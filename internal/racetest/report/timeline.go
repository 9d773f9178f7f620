package report

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// timeline writes the steps of a trace, each client's in a column of its own. marks are remarks on steps.
func (r *Report) timeline(b *strings.Builder, t *play.Trace, marks map[*play.Step]string) {
	numbers := number(t)
	width := (columns - 5) / len(r.clients)
	row := func(head string, client int, text string) {
		indent := strings.Repeat(" ", client*width)
		for i, line := range wrap(text, width-2) {
			if i > 0 {
				head = ""
			}
			fmt.Fprintf(b, "%s\n", strings.TrimRight(fmt.Sprintf("%3s  %s%s", head, indent, line), " "))
		}
	}
	head := strings.Repeat(" ", 5)
	for _, name := range r.clients {
		head += name + strings.Repeat(" ", max(1, width-utf8.RuneCountInString(name)))
	}
	fmt.Fprintf(b, "%s\n", strings.TrimRight(head, " "))
	for _, e := range t.Entries {
		head := ""
		if e.Step != nil {
			head = fmt.Sprint(numbers[e.Step])
		}
		switch e.What {
		case play.Did:
			row(head, e.Client, Statement(e.Step))
			row("", e.Client, withMark(outcome(e.Step), marks[e.Step]))
		case play.Sent:
			row(head, e.Client, Statement(e.Step))
			row("", e.Client, "… waits for a lock")
		case play.Woke:
			after := ""
			if e.Step.Until >= 0 {
				after = fmt.Sprintf(" after step %d", numbers[t.Steps[e.Step.Until]])
			}
			row(head, e.Client, "… goes on"+after+": "+withMark(strings.TrimPrefix(outcome(e.Step), "→ "), marks[e.Step]))
		case play.Parked:
			row("", e.Client, "… waits in the process")
		case play.Returned:
			if err := t.Errs[e.Client]; err != nil {
				row("", e.Client, returned(err))
			}
		}
	}
}

// returned says how a client ended that did not succeed.
func returned(err error) string {
	if p := new(play.Panic); errors.As(err, &p) {
		if p.Value == nil {
			return "ends its goroutine"
		}
		return fmt.Sprintf("panics: %v", p.Value)
	}
	return "returns an error: " + err.Error()
}

// number counts the steps as they are shown, from 1.
func number(t *play.Trace) map[*play.Step]int {
	numbers := map[*play.Step]int{}
	for i, s := range t.Steps {
		numbers[s] = i + 1
	}
	return numbers
}

func withMark(text, mark string) string {
	if mark == "" {
		return text
	}
	return text + " — " + mark
}

// Statement returns a step in one line, with the values of its parameters.
func Statement(s *play.Step) string {
	text := strings.Join(strings.Fields(s.Text), " ")
	if text == "" {
		text = map[gate.Kind]string{gate.Begin: "BEGIN", gate.Commit: "COMMIT", gate.Rollback: "ROLLBACK"}[s.Kind]
	}
	if look(s) && len(text) > longestLook {
		first, _, _ := strings.Cut(text, " ")
		text = first + " …" + dialect.LookMark
	}
	if len(s.Args) == 0 {
		return text
	}
	var args []string
	for _, a := range s.Args {
		args = append(args, value(a))
	}
	return text + " [" + strings.Join(args, ", ") + "]"
}

// longestLook is how much of nogap's own statements, by which it looks at a table, is shown.
const longestLook = 100

// look reports whether nogap itself asks by the step what a table is.
func look(s *play.Step) bool { return strings.HasSuffix(s.Text, strings.TrimSpace(dialect.LookMark)) }

// mostRows are as many rows of a result as are shown.
const mostRows = 3

// outcome returns what came of a step.
func outcome(s *play.Step) string {
	r := s.Result
	switch {
	case !s.Finished:
		return "did not end"
	case r.Err != nil:
		return "→ error: " + r.Err.Error()
	case len(r.Columns) > 0 && look(s):
		return "→ what it is"
	case len(r.Columns) > 0:
		return "→ " + rows(r)
	case s.Kind == gate.Exec && r.Affected == 1:
		return "→ 1 row"
	case s.Kind == gate.Exec:
		return fmt.Sprintf("→ %d rows", r.Affected)
	}
	return ""
}

func rows(r gate.Result) string {
	if len(r.Rows) == 0 {
		return "no row"
	}
	var all []string
	for i, row := range r.Rows {
		if i == mostRows {
			all = append(all, fmt.Sprintf("… %d rows", len(r.Rows)))
			break
		}
		var cells []string
		for k, v := range row {
			cells = append(cells, r.Columns[k]+" "+value(v))
		}
		all = append(all, strings.Join(cells, ", "))
	}
	return strings.Join(all, "; ")
}

// longest is how much of a value is shown.
const longest = 40

func value(v any) string {
	var s string
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		s = string(v)
	case time.Time:
		s = v.Format(time.RFC3339)
	case driver.Valuer:
		inner, err := v.Value()
		if err != nil {
			return "?"
		}
		return value(inner)
	default:
		s = fmt.Sprint(v)
	}
	if !utf8.ValidString(s) {
		s = fmt.Sprintf("%x", s)
	}
	if utf8.RuneCountInString(s) > longest {
		s = string([]rune(s)[:longest]) + "…"
	}
	return s
}
