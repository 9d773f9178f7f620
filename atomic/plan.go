package atomic

import (
	"math"
	"reflect"
	"slices"

	"github.com/nogap-go/nogap/internal/dialect"
)

// A level is an integer on a scale that signed and unsigned types share, so that the sums of a batch are worked out in
// one way: levels compare as the integers do, and a difference of two is a uint64.
type level uint64

const signedZero level = 1 << 63

func levelOf[N any](n N) level {
	v := reflect.ValueOf(n)
	switch {
	case v.CanInt():
		return level(v.Int()) + signedZero
	case v.CanUint():
		return level(v.Uint())
	}
	return 0 // no Coalescer counts such a type
}

func fromLevel[N any](l level) (N, error) { return fromInsertID[N](int64(l - zeroOf[N]())) }

func zeroOf[N any]() level {
	var zero N
	return levelOf(zero)
}

// wish is what a call asks for.
type wish struct {
	op
	n, limit level
}

type op int

const (
	take op = iota
	add
	addUpTo
)

// scale is the part of the levels that a Counter's type has.
type scale struct {
	number dialect.Number
	zero   level
	span
}

func scaleOf[N any](s dialect.Server) scale {
	bits := reflect.TypeFor[N]().Bits()
	if zeroOf[N]() == signedZero {
		half := level(1) << (bits - 1)
		return scale{dialect.Signed, signedZero, span{signedZero - half, signedZero + (half - 1)}}
	}
	most := level(math.MaxUint64) >> (64 - bits)
	if !s.Unsigned64 {
		// There are no such columns, and no such parameters of the drivers.
		most = min(most, math.MaxInt64)
	}
	return scale{numberOf[N](), 0, span{0, most}}
}

// span is all levels from one to another.
type span struct{ low, high level }

func (s span) with(l level) span { return span{min(s.low, l), max(s.high, l)} }

// memory is what is known about a row. The zero memory is nothing.
type memory struct {
	known bool
	last  level // what the row held last
	held  span  // what it has held: the column takes both ends and what is in between
}

func (m *memory) learn(l level) {
	if !m.known {
		*m = memory{known: true, held: span{l, l}}
	}
	m.last, m.held = l, m.held.with(l)
}

// suppose returns what to plan on if nothing is known: just enough for all the calls to be granted, if that can be.
func (s scale) suppose(calls []*call) memory {
	enough := s.zero
	for _, c := range slices.Backward(calls) {
		n := c.n - s.zero
		switch {
		case c.op != take:
			enough -= min(n, enough-s.low)
		case n > s.high-max(enough, s.zero):
			enough = s.high
		default:
			enough = max(enough, s.zero) + n
		}
	}
	return memory{last: enough, held: span{enough, enough}} // it may never have held more, or less
}

// plan is what becomes of the first calls of a batch.
type plan struct {
	start level  // what the row is thought to hold
	calls int    // how many; none if the first one's outcome can only be found out by making it
	down  bool   // what they take is more than what they add …
	by    uint64 // … by this much, or less
	from  span   // the levels to start from for which that is right
}

// plan works out, one by one, what becomes of the calls if the row is at m.last, and sets whether they are granted and
// at which level. A call's outcome hangs on the level before it being high or low enough, so the whole plan is right for
// an interval of levels to start from.
//
// The plan ends early where a batch would be granted what one by one is not: the calls up to a peak that the column may
// not be able to hold must be a batch of their own, in which that is what the server is asked to store. The same goes
// for a trough, below which a CHECK may not let it.
func (s scale) plan(calls []*call, m memory) plan {
	start := m.last
	p := plan{start: start}
	if start < s.low || start > s.high {
		return p
	}
	x, seen := start, span{start, start}
	lower, higher := uint64(math.MaxUint64), uint64(math.MaxUint64) // how much start may differ
	for i, c := range calls {
		if c.op == take {
			if c.granted = x >= c.n; c.granted {
				lower = min(lower, uint64(x-c.n))
				x -= c.n - s.zero
			} else {
				higher = min(higher, uint64(c.n-x)-1)
			}
		} else {
			sum := x + (c.n - s.zero)
			if sum < x || sum > s.high {
				break // beyond what the program can count
			}
			higher = min(higher, uint64(s.high-sum))
			switch c.granted = c.op == add || sum <= c.limit; {
			case !c.granted:
				lower = min(lower, uint64(sum-c.limit)-1)
			case c.op == addUpTo:
				higher = min(higher, uint64(c.limit-sum))
				fallthrough
			default:
				x = sum
			}
		}
		c.level = x
		seen = seen.with(x)
		if part, ok := s.upTo(start, x, seen, m.held, lower, higher); ok {
			p = part
			p.calls = i + 1
		}
	}
	return p
}

// upTo returns the plan that goes from start to end and passes what it has seen on the way, if the server may be trusted
// to hold all of that.
func (s scale) upTo(start, end level, seen, held span, lower, higher uint64) (plan, bool) {
	p := plan{start: start, down: end < start, by: uint64(end - start)}
	if p.down {
		p.by = -p.by
	}
	if s.number == dialect.Signed && p.by > math.MaxInt64 {
		return p, false // no parameter holds that
	}
	within := s.span
	if seen.high > max(start, end) {
		within.high = held.high
	}
	if seen.low < min(start, end) {
		within.low = held.low
	}
	if seen.high > within.high || seen.low < within.low {
		return p, false
	}
	lower, higher = min(lower, uint64(seen.low-within.low)), min(higher, uint64(within.high-seen.high))
	p.from = span{start - level(lower), start + level(higher)}
	return p, true
}

// param returns a level as a bound parameter.
func (s scale) param(l level) any {
	if s.number == dialect.Signed {
		return int64(l - s.zero)
	}
	return uint64(l)
}
