// Package explore searches the schedules of a scenario for one that ends as no order of whole clients does.
//
// It first tries the schedules that are most likely to show a bug: those where a client is interrupted between its read and its
// write. Then it goes through all classes of schedules that can differ, and if there are too many of them, it walks at random.
package explore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// Config is what to explore.
type Config struct {
	Connector      driver.Connector
	Setup          func(context.Context, *sql.DB) error
	Clients        []Client
	Check          func(context.Context, *sql.DB, map[string]error) error
	MaxPreemptions int // 0 is no bound
	MaxSchedules   int
	Budget         time.Duration
	Seed           uint64
	Replay         []Segment // if not empty, this schedule alone
	// Patience is how long nothing at all may move; 0 is 10 seconds.
	Patience time.Duration
	// Every plays every order, also those of one class, and no more: to measure what that saves.
	Every          bool
	Ignore         []string
	CompareResults bool
	Resources      []Resource
}

// Resource is a store beside the database whose commands are steps: see play.Do.
type Resource interface {
	// Reset makes it as it was before the clients have touched it. It comes before each Setup. The first call opens it.
	Reset(ctx context.Context) error
	// Start begins a schedule, after Setup.
	Start()
	// State returns what has been touched since it was opened, and ends the schedule. doubt is why the schedule says nothing.
	State(ctx context.Context) (tables []oracle.Table, doubt string, err error)
	// Note says what there is to know of it; empty if there is nothing.
	Note() string
	// Close ends the exploration: what is done from now on is nobody's step.
	Close()
}

// Client is one of those whose steps are put in order.
type Client struct {
	Name string
	Run  func(context.Context, *sql.DB) error
}

// Segment is a client's steps without another client's in between.
type Segment struct{ Client, Steps int }

// Failure is a schedule that ended as no order of whole clients does, whose Check failed, or in which a client panicked or left a
// connection in use. The Trace has the last two.
type Failure struct {
	Trace   *play.Trace
	Verdict oracle.Verdict
	Check   error
	// Deadlock: the server had to end a deadlock, and the client did not try again.
	Deadlock bool
	// Number counts the schedules up to it.
	Number int
	// Replayed and Replays say how often it failed when it was played again. One with a Leak is not: what is left open may hold locks.
	Replayed, Replays int
}

// Result is what was found, and how much was explored.
type Result struct {
	Failure *Failure
	// Trace is the schedule that was replayed.
	Trace *play.Trace
	// Schedules counts those that were judged; Classes how many of them can differ.
	Schedules, Classes int
	// Open is how many branches are left, at least. Complete reports that there are none.
	Open     int
	Complete bool
	// Bound is that of preemptions; 0 is none.
	Bound int
	// Refused counts the schedules in which a client ended in an error that no order gives, and the others are as if it had not been.
	Refused int
	// Doubts counts the schedules that say nothing, and Doubt is the first one.
	Doubts int
	Doubt  Doubt
	// Diverged counts the schedules in which the clients did other steps than when they were played before, and Divergence is the first.
	Diverged   int
	Divergence Divergence
	// Pruned reports whether schedules of one class were played once. WhyNot is why not.
	Pruned bool
	WhyNot string
	// Unsteady are the columns that Setup fills with other values each time.
	Unsteady []oracle.Unsteady
	// Remarks are those of the Resources.
	Remarks []string
	// Orders counts the orders of whole clients that were run to compare with.
	Orders int
	// Setup is the mean time of Setup. SetupShare is its share of the whole.
	Setup      time.Duration
	SetupShare float64
	Elapsed    time.Duration
	Budget     time.Duration
}

// Doubt is a schedule that says nothing.
type Doubt struct {
	Trace *play.Trace
	// Why is what was seen of it, and what to do. It is empty if Verdict is the reason.
	Why string
	// Verdict says how it differs from the orders of whole clients, if it does.
	Verdict oracle.Verdict
}

// Divergence is a step of a client in the place of another one; the texts are empty where it makes no step.
type Divergence struct {
	Client      int
	Before, Now string
}

// Inconclusive says why nothing can be said of the scenario as a whole; empty if something can.
func (r *Result) Inconclusive() string {
	switch {
	case r.Doubts > 0 && r.Doubt.Why != "":
		return r.Doubt.Why
	case r.Doubts > 0:
		return "an order of whole clients does not always end alike"
	case r.Schedules == 0:
		return fmt.Sprintf("the Budget was used up before the first schedule: it is %s, and the clients alone took %s, %.0f %% of it in Setup. "+
			"Give more Budget, or make Setup faster (DELETE and INSERT, not DROP and CREATE)",
			r.Budget, r.Elapsed.Round(time.Millisecond), 100*r.SetupShare)
	}
	return ""
}
