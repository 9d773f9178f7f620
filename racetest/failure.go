package racetest

import (
	"encoding/json"

	"github.com/nogap-go/nogap/internal/racetest/report"
)

// Failure is a schedule that failed: no order of whole clients ends as it does, its Check returned an error, or one
// of its clients ended in a deadlock, panicked, or left a transaction open.
type Failure struct {
	// Kind is what it is, as far as the steps tell: "lost update", "phantom", "same number twice", "write skew", "half-done",
	// "deadlock", "panic", "leak" (a transaction or rows left open), "check" or "not serial".
	Kind string
	// Schedule plays it again, as Scenario.Replay or in RACETEST_REPLAY.
	Schedule Schedule
	// Number is which of the schedules it was, from 1.
	Number int
	// Replayed says how often it failed of the Replays times that it was played again. A "leak" is not: what is left open may hold locks.
	Replayed, Replays int
	// Differences say how the end differs from the nearest order of whole clients.
	Differences []string
	// Advice says what closes the gap.
	Advice []string
	// Check is the error of Scenario.Check; nil if it did not fail.
	Check error

	report *report.Report
}

func newFailure(r *report.Report) *Failure {
	f, d := r.Found(), r.Diagnosis()
	return &Failure{
		Kind: d.Kind, Schedule: Schedule(r.Schedule()), Number: f.Number, Replayed: f.Replayed, Replays: f.Replays,
		Differences: r.Differences(), Advice: d.Advice, Check: f.Check, report: r,
	}
}

// String returns the report: the steps in their order, and how the end differs. Its lines have at most 100 columns.
func (f *Failure) String() string { return f.report.Failure() }

// Mermaid returns the schedule as a sequence diagram of Mermaid, which GitHub shows in a pull request.
func (f *Failure) Mermaid() string { return f.report.Mermaid() }

// MarshalJSON returns the report for a program to read, with every step. The error is always nil.
func (f *Failure) MarshalJSON() ([]byte, error) { return json.Marshal(f.report.Document()) }
