// Package plan works out what becomes of calls that change one integer, so that one change carries out all of them. It is
// arithmetic alone: who uses it reads and writes the integer.
package plan

import (
	"math"

	"github.com/nogap-go/nogap/internal/combine"
)

// Op is what a call does.
type Op uint8

// The calls of a Counter.
const (
	Decrement     Op = iota // only if N are left
	Increment               // only if the sum fits
	IncrementUpTo           // only if the sum is at most Limit
)

// Call is what one caller asks for, and what came of it.
type Call struct {
	Op
	Granted  bool
	Apart    bool // it was made by itself and not as part of a plan
	N, Limit Level
	Level    Level          // what the call left, or what was in its way
	Err      error          // why there is neither
	Trace    *combine.Trace // nil if it was never made
}

// Known is what is known about an integer. The zero Known is nothing.
type Known struct {
	known bool
	last  Level // what it was last
	held  Span  // what it has been: the column takes both ends and what is in between
}

// Learn notes that the integer is at l, and that the column takes that.
func (k *Known) Learn(l Level) {
	if !k.known {
		*k = Known{known: true, held: Span{l, l}}
	}
	k.last, k.held = l, k.held.with(l)
}

// Plan is what becomes of the first calls of a batch.
type Plan struct {
	Start Level  // what the integer is thought to be
	Calls int    // how many; none if the first one's outcome can only be found out by making it
	Down  bool   // what they take is more than what they add …
	By    uint64 // … by this much, or less
	From  Span   // the levels to start from for which that is right
}

// Make works out, one by one, what becomes of the calls if the integer is as it was last, and sets whether they are
// granted and at which level. If nothing is known, it takes the least for which all calls are granted. A call's outcome
// depends on the level before it being high or low enough, so the whole plan is right for an interval of levels to start
// from.
//
// The plan ends early where a batch would be granted what one by one is not: the calls up to a peak that the column may
// not be able to hold must be a batch of their own, in which that is what the server is asked to store. The same goes
// for a trough, below which a CHECK may not let it.
func (s Scale) Make(calls []*Call, k Known) Plan {
	if !k.known {
		k = s.suppose(calls)
	}
	start := k.last
	p := Plan{Start: start}
	if start < s.Low || start > s.High {
		return p
	}
	x, seen := start, Span{start, start}
	room := room{lower: math.MaxUint64, higher: math.MaxUint64}
	for i, c := range calls {
		if !s.step(c, &x, &room) {
			break // beyond what the program can count
		}
		seen = seen.with(x)
		if part, ok := s.upTo(start, x, seen, k.held, room); ok {
			p = part
			p.Calls = i + 1
		}
	}
	return p
}

// Shift moves the levels of the plan's calls to where the integer really started.
func (p Plan) Shift(calls []*Call, start Level) {
	for _, c := range calls[:p.Calls] {
		c.Level += start - p.Start
	}
}

// suppose returns what to plan on if nothing is known: just enough for all the calls to be granted, if that can be.
func (s Scale) suppose(calls []*Call) Known {
	enough := s.Zero
	for i := len(calls) - 1; i >= 0; i-- {
		c := calls[i]
		n := c.N - s.Zero
		switch {
		case c.Op != Decrement:
			enough -= min(n, enough-s.Low)
		case n > s.High-max(enough, s.Zero):
			enough = s.High
		default:
			enough = max(enough, s.Zero) + n
		}
	}
	return Known{last: enough, held: Span{enough, enough}} // it may never have held more, or less
}

// room is by how much the level to start from may differ without changing an outcome.
type room struct{ lower, higher uint64 }

// step makes one call at level x, and narrows the room. It returns false if there is no level for the sum.
func (s Scale) step(c *Call, x *Level, room *room) bool {
	if c.Op == Decrement {
		if c.Granted = *x >= c.N; c.Granted {
			room.lower = min(room.lower, uint64(*x-c.N))
			*x -= c.N - s.Zero
		} else {
			room.higher = min(room.higher, uint64(c.N-*x)-1)
		}
		c.Level = *x
		return true
	}
	sum := *x + (c.N - s.Zero)
	if sum < *x || sum > s.High {
		return false
	}
	room.higher = min(room.higher, uint64(s.High-sum))
	c.Granted = c.Op == Increment || sum <= c.Limit
	switch {
	case !c.Granted:
		room.lower = min(room.lower, uint64(sum-c.Limit)-1)
	case c.Op == IncrementUpTo:
		room.higher = min(room.higher, uint64(c.Limit-sum))
	}
	if c.Granted {
		*x = sum
	}
	c.Level = *x
	return true
}

// upTo returns the plan that goes from start to end and passes what it has seen on the way, if the server may be trusted
// to hold all of that.
func (s Scale) upTo(start, end Level, seen, held Span, room room) (Plan, bool) {
	p := Plan{Start: start, Down: end < start, By: uint64(end - start)}
	if p.Down {
		p.By = -p.By
	}
	if s.signed && p.By > math.MaxInt64 {
		return p, false // no parameter holds that
	}
	within := s.Span
	if seen.High > max(start, end) {
		within.High = held.High
	}
	if seen.Low < min(start, end) {
		within.Low = held.Low
	}
	if seen.High > within.High || seen.Low < within.Low {
		return p, false
	}
	lower, higher := min(room.lower, uint64(seen.Low-within.Low)), min(room.higher, uint64(within.High-seen.High))
	p.From = Span{start - Level(lower), start + Level(higher)}
	return p, true
}
