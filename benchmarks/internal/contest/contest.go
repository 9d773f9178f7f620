//go:build unix

// Package contest lets several ways of doing one thing take turns on one server, and measures each of them.
//
// A Scenario is data: the thing to do, what it is done to, and the ways to do it. Run opens a Stage for it, which is a
// pool of connections or the addresses of Redis nodes, and returns a Result for each way.
package contest

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

// Kind says who a way belongs to.
type Kind string

const (
	Nogap  Kind = "nogap"
	ByHand Kind = "by hand" // the same commands written by hand, with which the others are compared
	Rival  Kind = "rival"   // a library that a user would pick instead
	Naive  Kind = "naive"   // a way that loses writes, which shows that the count of them sees something
)

// Scenario is one thing to do and the ways to do it.
type Scenario struct {
	Name   string // in -only: lower case, no blanks
	Task   string // what a call does, in a sentence
	Places []string
	// NewSubject returns what the calls change.
	NewSubject func() Subject
	Ways       []Way
	// Stretch is how many times as long as others its rounds are. 0 is 1.
	Stretch int
	// CutWaits has calls that still wait at the end of a round give up. It is for locks that are polled: their last waits
	// take many times as long as a round.
	CutWaits bool
	// Alone has one way after the other: what one of them leaves running would be charged to the others.
	Alone bool
}

// Way is one way to do it.
type Way struct {
	Name string
	Kind Kind
	// On says on which places it works. It may be nil, which is on all of them.
	On func(*places.Place) bool
	// Open returns the call that is measured. What it leaves open it gives to Stage.Cleanup.
	Open func(context.Context, *Stage) (Call, error)
	// NewSubject is for a way that has tables of its own. It may be nil, which is the scenario's.
	NewSubject func() Subject
}

// Call does it once. Callers are numbered from 0.
type Call func(ctx context.Context, caller int) error

// ErrNothingLeft is what a Call returns if there is nothing to do any more. Its caller stops, and it is no failure.
var ErrNothingLeft = errors.New("nothing left to do")

// Subject is what the calls change, and how to see whether they have.
type Subject interface {
	// Setup makes it. It is called once, before any way is opened.
	Setup(context.Context, *Stage) error
	// Before is called before each round.
	Before(context.Context, *Stage) error
	// After is called after each round and returns what is wrong, of acknowledged calls and failed ones. A failed call may
	// have been applied or not.
	After(ctx context.Context, s *Stage, acknowledged, failed int64) (Wrong, error)
}

// Wrong is what is wrong after a round.
type Wrong struct {
	Lost  int64 // calls that returned nil and changed nothing, or whose change was overwritten
	Extra int64 // changes that no call answers for: done twice, or by a call that said that it had failed
}

// Compared returns the Wrong of so many changes.
func Compared(changes, acknowledged, failed int64) Wrong {
	return Wrong{Lost: max(0, acknowledged-changes), Extra: max(0, changes-acknowledged-failed)}
}
