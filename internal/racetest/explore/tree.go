package explore

import (
	"cmp"
	"slices"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// tree is what is known of all schedules. Each node is the state after some choices.
type tree struct {
	root  *node
	solos []*play.Trace
	prune bool
	bound int // preemptions, 0 is none
	// diverged is the first step that was another one than before; nil if there is none.
	diverged *Divergence
}

type node struct {
	moves    []play.Move // nil is not known
	children map[int]*node
	events   []effect.Event // of the choice that led here
	complete bool
}

func newTree(solos []*play.Trace, bound int) *tree {
	return &tree{root: &node{}, solos: solos, prune: bound == 0, bound: bound}
}

// known fills in what a client that has not been called yet will do first.
func (t *tree) known(moves []play.Move) []play.Move {
	moves = slices.Clone(moves)
	for i, m := range moves {
		if solo := t.solos[m.Client]; !m.Started && len(solo.Steps) > 0 {
			moves[i].Op, moves[i].Dispatch, moves[i].Done = solo.Steps[0].Op, solo.Steps[0].Dispatch, solo.Steps[0].Done
		}
	}
	return moves
}

// add enters a trace. It returns false if the clients did other steps than in the traces before.
func (t *tree) add(trace *play.Trace) bool {
	n := t.root
	for _, d := range trace.Decisions {
		moves := t.known(d.Enabled)
		if n.moves == nil && n.complete || n.moves != nil && !sameMoves(n.moves, moves) {
			t.diverge(n.moves, moves)
			return false
		}
		n.moves = moves
		if n.children == nil {
			n.children = map[int]*node{}
		}
		next := n.children[d.Client()]
		if next == nil {
			next = &node{events: trace.Events[d.First:d.End]}
			n.children[d.Client()] = next
		}
		n = next
	}
	if n.moves != nil {
		t.diverge(n.moves, nil)
		return false
	}
	n.complete = true
	return true
}

// diverge notes the first client whose next step is another one than before.
func (t *tree) diverge(before, now []play.Move) {
	if t.diverged != nil {
		return
	}
	step := func(moves []play.Move, client int) string {
		i := slices.IndexFunc(moves, func(m play.Move) bool { return m.Client == client })
		if i < 0 {
			return ""
		}
		return cmp.Or(moves[i].Op.Text, moves[i].Op.Kind.String())
	}
	for c := range t.solos {
		if d := (Divergence{c, step(before, c), step(now, c)}); d.Before != d.Now {
			t.diverged = &d
			return
		}
	}
}

func sameMoves(a, b []play.Move) bool {
	return slices.EqualFunc(a, b, func(x, y play.Move) bool {
		return x.Client == y.Client && x.Op.Text == y.Op.Text && x.Op.Kind == y.Op.Kind
	})
}

// sleeping are moves that need not be made here, because a schedule that has been played before them is of the same class (Godefroid:
// Partial-Order Methods for the Verification of Concurrent Systems, 1996, chapter 5).
type sleeping map[int]play.Move

// after returns those that sleep still after some events.
func (s sleeping) after(events []effect.Event) sleeping {
	rest := sleeping{}
	for c, m := range s {
		if !slices.ContainsFunc(events, func(e effect.Event) bool {
			return e.Client == c || effect.Conflict(e, m.Dispatch) || effect.Conflict(e, m.Done)
		}) {
			rest[c] = m
		}
	}
	return rest
}

// next returns the choices to a schedule that has not been played, and what sleeps after them; ok is false if there is none.
func (t *tree) next() (choices []int, asleep sleeping, ok bool) {
	return t.visit(t.root, -1, 0, sleeping{})
}

func (t *tree) visit(n *node, last, preemptions int, asleep sleeping) (choices []int, _ sleeping, ok bool) {
	if n.complete {
		return nil, nil, false
	}
	if n.moves == nil {
		return nil, asleep, true
	}
	tried := sleeping{}
	for c, m := range asleep {
		tried[c] = m
	}
	for _, m := range n.moves {
		if _, sleeps := asleep[m.Client]; sleeps {
			continue
		}
		more := preemptions
		if m.Client != last && slices.ContainsFunc(n.moves, func(o play.Move) bool { return o.Client == last }) {
			more++
		}
		if t.bound > 0 && more > t.bound {
			continue
		}
		child := n.children[m.Client]
		if child == nil {
			return []int{m.Client}, tried.after([]effect.Event{m.Dispatch, m.Done}), true
		}
		if rest, sleeps, ok := t.visit(child, m.Client, more, tried.after(child.events)); ok {
			return append([]int{m.Client}, rest...), sleeps, true
		}
		if t.prune {
			tried[m.Client] = m
		}
	}
	n.complete = true
	return nil, nil, false
}

// awake returns a Chooser that makes choices and then stays with a client for as long as it may, but makes no move that sleeps.
func (t *tree) awake(choices []int, asleep sleeping) play.Chooser {
	return func(trace *play.Trace, moves []play.Move) int {
		n := len(trace.Decisions)
		if n < len(choices) {
			return max(0, slices.IndexFunc(moves, func(m play.Move) bool { return m.Client == choices[n] }))
		}
		if n > 0 {
			d := trace.Decisions[n-1]
			asleep = asleep.after(trace.Events[d.First:d.End])
		}
		best := -1
		for i, m := range moves {
			if _, sleeps := asleep[m.Client]; sleeps {
				continue
			}
			if m.Client == trace.Last() {
				return i
			}
			if best < 0 {
				best = i
			}
		}
		return max(0, best)
	}
}

// has reports whether the schedule that a Chooser leads to has been played.
func (t *tree) has(choose play.Chooser) bool {
	so := &play.Trace{}
	for n := t.root; n != nil; {
		if n.moves == nil {
			return n.complete
		}
		so.Decisions = append(so.Decisions, play.Decision{Enabled: n.moves, Chosen: choose(so, n.moves)})
		n = n.children[so.Last()]
	}
	return false
}

// made notes that a schedule that begins with some choices was tried. If the clients could not make them, it is not tried again.
func (t *tree) made(choices []int) {
	n := t.root
	for i, c := range choices {
		if n == nil || n.moves == nil {
			return
		}
		if n.children[c] == nil && i == len(choices)-1 {
			n.children[c] = &node{complete: true}
		}
		n = n.children[c]
	}
}

// open counts the moves that are known and were not made.
func (t *tree) open() int { return t.count(t.root, sleeping{}) }

func (t *tree) count(n *node, asleep sleeping) (open int) {
	if n.complete {
		return 0
	}
	tried := sleeping{}
	for c, m := range asleep {
		tried[c] = m
	}
	for _, m := range n.moves {
		if _, sleeps := asleep[m.Client]; sleeps {
			continue
		}
		if child := n.children[m.Client]; child == nil {
			open++
		} else {
			open += t.count(child, tried.after(child.events))
		}
		if t.prune {
			tried[m.Client] = m
		}
	}
	return open
}
