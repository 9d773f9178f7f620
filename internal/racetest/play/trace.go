package play

import (
	"errors"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
)

// Op is what a client is about to do.
type Op struct {
	Kind   gate.Kind // 0 is no statement, but a named step or a command of another resource
	Text   string    // its SQL or its name
	Args   []any
	Access effect.Access
	// Level is the isolation that a Begin, or a statement outside transactions, asks for.
	Level effect.Isolation
	InTx  bool
}

// Step is one step as it was done.
type Step struct {
	Op
	Client int
	N      int // counts the client's steps from 0

	Dispatch, Done effect.Event
	Result         gate.Result
	Finished       bool
	// Waited reports whether the step waited for a lock, and Until is the step that let it go on: an index of Trace.Steps, or -1.
	Waited bool
	Until  int
}

// Move is what a client can do next.
type Move struct {
	Client int
	// Started is false if the client has not been called yet: then Op and the events are not known.
	Started        bool
	Op             Op
	Dispatch, Done effect.Event
}

// Decision is one choice of the scheduler.
type Decision struct {
	Enabled []Move
	Chosen  int // index in Enabled
	// First and End bound the decision's events in Trace.Events.
	First, End int
}

// Client returns the client that was chosen.
func (d Decision) Client() int { return d.Enabled[d.Chosen].Client }

// Trace is one schedule as it was played.
type Trace struct {
	Decisions []Decision
	Steps     []*Step // in the order of their dispatch
	Events    []effect.Event
	Entries   []Entry // what to show, in order
	Errs      []error // of each client
	Ran       []bool  // which clients took part
	// Commits are the clients in the order of their last visible change; those without one come where they ended.
	Commits []int
	// Parked counts how often a client waited inside the process.
	Parked int
	// Doubt is why the schedule says nothing; empty if it does.
	Doubt string
	// Leak is a client's connection that is still in use; nil if there is none.
	Leak *Leak
}

// Panic returns the panic of the first client that panicked; nil if none did.
func (t *Trace) Panic() *Panic {
	for _, err := range t.Errs {
		if p := new(Panic); errors.As(err, &p) {
			return p
		}
	}
	return nil
}

// Entry is a line of the timeline.
type Entry struct {
	Step *Step
	What What
	// Client is whose entry it is if there is no step.
	Client int
}

// What an Entry tells of its step.
type What int

// A step is shown once if it did not wait: Did. One that waited is Sent, then Woke. Parked and Returned have no step.
const (
	Did What = iota
	Sent
	Woke
	Parked
	Returned
)

// Choices returns the clients in the order in which they were chosen.
func (t *Trace) Choices() []int {
	choices := make([]int, len(t.Decisions))
	for i, d := range t.Decisions {
		choices[i] = d.Client()
	}
	return choices
}

// Serial reports whether each client ran without another one in between.
func (t *Trace) Serial() bool {
	seen := map[int]bool{}
	last := -1
	for _, c := range t.Choices() {
		if c != last && seen[c] {
			return false
		}
		seen[c], last = true, c
	}
	return true
}
