package explore

import (
	"cmp"
	"slices"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// follow returns a Chooser that plays segments, and then lets each client run to its end, the one that is at it first. A client that
// can't go on, because it waits for a lock, gives way to the next segment.
func follow(segments []Segment) play.Chooser {
	at, done := 0, 0
	return func(t *play.Trace, moves []play.Move) int {
		for ; at < len(segments); at, done = at+1, 0 {
			if done == segments[at].Steps {
				continue
			}
			if i := slices.IndexFunc(moves, func(m play.Move) bool { return m.Client == segments[at].Client }); i >= 0 {
				done++
				return i
			}
		}
		return inOrder(t, moves)
	}
}

// exactly returns a Chooser that plays choices, and then as inOrder. It notes whether a choice could not be made.
func exactly(choices []int, diverged *bool) play.Chooser {
	return func(t *play.Trace, moves []play.Move) int {
		if n := len(t.Decisions); n < len(choices) {
			if i := slices.IndexFunc(moves, func(m play.Move) bool { return m.Client == choices[n] }); i >= 0 {
				return i
			}
			*diverged = true
		}
		return inOrder(t, moves)
	}
}

// Segments returns the choices of a trace, without those that need none: the rest of the last client.
func Segments(choices []int) (segments []Segment) {
	for _, c := range choices {
		if n := len(segments); n > 0 && segments[n-1].Client == c {
			segments[n-1].Steps++
		} else {
			segments = append(segments, Segment{c, 1})
		}
	}
	return segments
}

// choices are the segments, spelt out.
func choices(segments []Segment) (all []int) {
	for _, s := range segments {
		all = append(all, slices.Repeat([]int{s.Client}, s.Steps)...)
	}
	return all
}

// plan is a schedule to try: clients are interrupted after so many of their steps.
type plan struct {
	segments    []Segment
	score       int
	preemptions int
}

// all is more steps than a client has.
const all = 1 << 30

// plans returns schedules with one or two preemptions, those first in which a client has read what another one writes and is about to
// write. Each preemption that is used already costs 2.
func plans(solos []*play.Trace, most int) (plans []plan) {
	scores := make([][]int, len(solos)) // of an interruption before each step
	for c := range solos {
		scores[c] = score(solos, c)
	}
	for a := range solos {
		for p := 1; p < len(scores[a]); p++ {
			for _, others := range othersInOrder(len(solos), a) {
				once := plan{score: scores[a][p], preemptions: 1, segments: []Segment{{a, p}}}
				for _, b := range others {
					once.segments = append(once.segments, Segment{b, all})
				}
				plans = append(plans, once)
				if most == 1 {
					continue
				}
				b := others[0]
				for q := 1; q < len(scores[b]); q++ {
					twice := plan{score: min(scores[a][p], scores[b][q]) - 2, preemptions: 2, segments: []Segment{{a, p}, {b, q}}}
					for _, c := range others[1:] {
						twice.segments = append(twice.segments, Segment{c, all})
					}
					twice.segments = append(twice.segments, Segment{a, all}, Segment{b, all})
					plans = append(plans, twice)
				}
			}
		}
	}
	slices.SortStableFunc(plans, func(x, y plan) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.preemptions, y.preemptions))
	})
	return plans
}

// othersInOrder returns the orders of the clients other than one.
func othersInOrder(n, except int) [][]int {
	var rest []int
	for c := range n {
		if c != except {
			rest = append(rest, c)
		}
	}
	return permutations(rest)
}

func permutations(of []int) [][]int {
	if len(of) == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for i, c := range of {
		for _, p := range permutations(slices.Delete(slices.Clone(of), i, i+1)) {
			all = append(all, append([]int{c}, p...))
		}
	}
	return all
}

// score says for each step of a client how likely it is that an interruption before it shows a bug.
func score(solos []*play.Trace, client int) []int {
	var others effect.Set // what they write
	for c, solo := range solos {
		if c == client {
			continue
		}
		for _, s := range solo.Steps {
			others = others.Union(s.Access.Writes)
		}
	}
	steps := solos[client].Steps
	scores := make([]int, len(steps))
	var read effect.Set
	holds := false
	for i, s := range steps {
		writes := s.Access.Writes
		switch {
		case read.And(others).Meets(writes):
			scores[i] = 4
		case !writes.Empty():
			scores[i] = 3
		case i > 0 && !steps[i-1].Access.Reads.Empty() && steps[i-1].Access.Writes.Empty():
			scores[i] = 2
		case holds:
			scores[i] = 1
		}
		read = read.Union(s.Access.Reads)
		if s.InTx {
			holds = holds || !s.Done.Locks.Empty()
		}
		if !s.Done.Releases.Empty() {
			holds = false
		}
	}
	return scores
}
