//go:build unix

// Package scenarios has what is measured, as data: what a call does, nogap's way to do it, the same by hand, and what a
// user would pick instead. To add a way, add a contest.Way to a scenario; to add a scenario, add it to All.
package scenarios

import (
	"slices"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// All are the scenarios, in the order of their tables.
var All = []contest.Scenario{counter, rowLock, version, twoWrites, transfer, claim, once, lock, lockWork, cart, set, namedLock}

// Rows returns how many rows a scenario has.
func Rows(sc contest.Scenario) int {
	switch sc.Name {
	case "transaction", "transfer", "cart":
		return 100
	case "claim":
		return 5000 // jobs that wait
	default:
		return 1
	}
}

// Curve is how the cost of a scenario grows with one number.
type Curve struct {
	Name     string
	Title    string
	Axis     string // what the number is
	Scenario contest.Scenario
	Place    string
	Points   []int
	Quick    []int // the points of -quick
	Size     func(point int) contest.Size
	Ways     []string // of the scenario; empty means all
}

var (
	callerPoints = []int{1, 4, 16, 64, 250, 500, 1000, 2000}
	rowPoints    = []int{1, 10, 100, 1000, 10_000, 100_000}
	heldPoints   = []int{1, 10, 100, 1000, 10_000, 100_000}
	poolPoints   = []int{5, 10, 25, 50, 100}
)

// Curves are the curves, in the order of their charts.
var Curves = []Curve{
	{Name: "callers-counter", Title: "Counter on one row", Axis: "callers", Scenario: counter, Place: "postgres/durable",
		Points: callerPoints, Quick: []int{1, 64, 500}, Size: callersOn(1),
		Ways: []string{"atomic.Counter", "atomic.Coalesce", "guarded UPDATE", "GORM gorm.Expr"}},
	{Name: "callers-row-lock", Title: "Row lock on one row", Axis: "callers", Scenario: rowLock, Place: "postgres/durable",
		Points: callerPoints, Quick: []int{1, 64}, Size: callersOn(1),
		Ways: []string{"pessimistic.WithRowLock", "SELECT FOR UPDATE", "GORM clause.Locking"}},
	{Name: "callers-version", Title: "Version on one row", Axis: "callers", Scenario: version, Place: "postgres/durable",
		Points: callerPoints, Quick: []int{1, 64}, Size: callersOn(1),
		Ways: []string{"optimistic.Modify", "optimistic.Coalesce", "compare-and-swap"}},
	{Name: "rows-counter", Title: "Counter, 100 callers on many rows", Axis: "rows", Scenario: counter, Place: "postgres/durable",
		Points: rowPoints, Quick: []int{1, 1000}, Size: rowsFor(100),
		Ways: []string{"atomic.Counter", "atomic.Coalesce", "guarded UPDATE"}},
	{Name: "rows-version", Title: "Version, 100 callers on many rows", Axis: "rows", Scenario: version, Place: "postgres/durable",
		Points: rowPoints, Quick: []int{1, 1000}, Size: rowsFor(100),
		Ways: []string{"optimistic.Modify", "optimistic.Coalesce", "compare-and-swap"}},
	{Name: "waiting-claim", Title: "Claim, 16 callers", Axis: "jobs that wait", Scenario: claim, Place: "postgres/durable",
		Points: []int{1000, 10_000, 100_000}, Quick: []int{1000, 5000}, Size: rowsFor(16),
		Ways: []string{"pessimistic.Claim", "SKIP LOCKED", "River claim"}},
	{Name: "held-lock", Title: "A free lock beside many held ones", Axis: "locks held", Scenario: heldLocks, Place: "redis/1",
		Points: heldPoints, Quick: []int{1, 1000}, Size: func(n int) contest.Size { return contest.Size{Callers: 1, Held: n} }},
	{Name: "pool-counter", Title: "Counter on one row, 500 callers", Axis: "connections", Scenario: counter, Place: "postgres/durable",
		Points: poolPoints, Quick: []int{5, 50}, Size: poolFor(500),
		Ways: []string{"atomic.Counter", "atomic.Coalesce", "guarded UPDATE"}},
	{Name: "pool-row-lock", Title: "Row lock on one row, 500 callers", Axis: "connections", Scenario: rowLock, Place: "postgres/durable",
		Points: poolPoints, Quick: []int{5, 50}, Size: poolFor(500),
		Ways: []string{"pessimistic.WithRowLock", "SELECT FOR UPDATE"}},
}

// Limited returns the scenario with the ways of the curve only.
func (c Curve) Limited() contest.Scenario {
	sc := c.Scenario
	if len(c.Ways) > 0 {
		sc.Ways = slices.DeleteFunc(slices.Clone(sc.Ways), func(w contest.Way) bool { return !slices.Contains(c.Ways, w.Name) })
	}
	return sc
}

// Point returns the point of a result.
func (c Curve) Point(r contest.Result) int {
	for _, point := range slices.Concat(c.Points, c.Quick) {
		if c.Size(point) == r.Size {
			return point
		}
	}
	return 0
}

func callersOn(rows int) func(int) contest.Size {
	return func(n int) contest.Size { return contest.Size{Callers: n, Rows: rows} }
}

func rowsFor(callers int) func(int) contest.Size {
	return func(n int) contest.Size { return contest.Size{Callers: callers, Rows: n} }
}

func poolFor(callers int) func(int) contest.Size {
	return func(n int) contest.Size { return contest.Size{Callers: callers, Rows: 1, Pool: n} }
}
