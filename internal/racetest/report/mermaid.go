package report

import (
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/racetest/play"
)

// Mermaid returns the failure as a sequence diagram, https://mermaid.js.org/syntax/sequenceDiagram.html, as GitHub shows it.
func (r *Report) Mermaid() string {
	t := r.result.Failure.Trace
	d := r.diagnose()
	var b strings.Builder
	b.WriteString("sequenceDiagram\n")
	for i, name := range r.clients {
		if i == 1 {
			b.WriteString("    participant db as database\n")
		}
		fmt.Fprintf(&b, "    participant c%d as %s\n", i, plain(name))
	}
	note := func(client int, text string) { fmt.Fprintf(&b, "    Note over c%d: %s\n", client, plain(text)) }
	answer := func(s *play.Step) {
		if text := withMark(strings.TrimPrefix(outcome(s), "→ "), d.marks[s]); text != "" {
			fmt.Fprintf(&b, "    db-->>c%d: %s\n", s.Client, plain(text))
		}
	}
	for _, e := range t.Entries {
		switch e.What {
		case play.Did, play.Sent:
			fmt.Fprintf(&b, "    c%d->>db: %s\n", e.Client, plain(Statement(e.Step)))
			if e.What == play.Sent {
				note(e.Client, "waits for a lock")
			} else {
				answer(e.Step)
			}
		case play.Woke:
			answer(e.Step)
		case play.Parked:
			note(e.Client, "waits in the process")
		case play.Returned:
			if err := t.Errs[e.Client]; err != nil {
				note(e.Client, returned(err))
			}
		}
	}
	for _, line := range r.Differences() {
		fmt.Fprintf(&b, "    Note over c0,c%d: %s\n", len(r.clients)-1, plain(line))
	}
	return b.String()
}

// plain writes what Mermaid would read as its own as the numbers of the characters.
func plain(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer("#", "#35;", ";", "#59;", "<", "#lt;", ">", "#gt;", "%", "#37;").Replace(text)
}
