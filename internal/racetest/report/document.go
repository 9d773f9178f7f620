package report

import "github.com/nogap-go/nogap/internal/racetest/explore"

// Document is a failure for a program to read.
type Document struct {
	Test        string         `json:"test"`
	Kind        string         `json:"kind"`
	Title       string         `json:"title"`
	Schedule    string         `json:"schedule"`
	Number      int            `json:"number"`
	Replayed    int            `json:"replayed"`
	Replays     int            `json:"replays"`
	Clients     []string       `json:"clients"`
	Steps       []DocumentStep `json:"steps"`
	Errors      []string       `json:"errors"` // of each client, "" for none
	Check       string         `json:"check,omitempty"`
	Differences []string       `json:"differences"`
	Advice      []string       `json:"advice"`
	Replay      string         `json:"replay"`
}

// DocumentStep is one step, in the order in which they were sent.
type DocumentStep struct {
	Client string `json:"client"`
	SQL    string `json:"sql"`
	Result string `json:"result"`
	// After is the step, counted from 1, that a lock was waited for; 0 is none.
	Waited bool `json:"waited,omitempty"`
	After  int  `json:"after,omitempty"`
}

// Found returns the failure.
func (r *Report) Found() *explore.Failure { return r.result.Failure }

// Document returns the failure for a program to read.
func (r *Report) Document() Document {
	f, d := r.result.Failure, r.diagnose()
	doc := Document{
		Test: r.test, Kind: d.Kind, Title: d.Title, Schedule: r.Schedule(), Number: f.Number, Replayed: f.Replayed, Replays: f.Replays,
		Clients: r.clients, Differences: r.Differences(), Advice: d.Advice, Replay: r.Replay(),
	}
	if f.Check != nil {
		doc.Check = f.Check.Error()
	}
	for _, s := range f.Trace.Steps {
		doc.Steps = append(doc.Steps, DocumentStep{Client: r.clients[s.Client], SQL: Statement(s), Result: outcome(s), Waited: s.Waited, After: s.Until + 1})
	}
	for _, err := range f.Trace.Errs {
		text := ""
		if err != nil {
			text = err.Error()
		}
		doc.Errors = append(doc.Errors, text)
	}
	return doc
}
