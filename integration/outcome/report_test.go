//go:build unix

package outcome_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// tally counts what came of calls.
type tally struct {
	calls, ok, refused, unknown int // by what they returned: nil, an error that says that nothing was written, or that nobody knows
	faults                      int // that struck
	notApplied                  int // of the unknown ones

	lost    int // nil, and not there
	doubled int // there twice
	half    int // a part of it is there
	despite int // applied, and the error says it was not
	late    []time.Duration
}

// wrong is how many calls did what must not be.
func (t *tally) wrong() int { return t.lost + t.doubled + t.half + t.despite }

func (t *tally) add(other tally) {
	t.calls += other.calls
	t.ok += other.ok
	t.refused += other.refused
	t.unknown += other.unknown
	t.faults += other.faults
	t.notApplied += other.notApplied
	t.lost += other.lost
	t.doubled += other.doubled
	t.half += other.half
	t.despite += other.despite
	t.late = append(t.late, other.late...)
}

const heading = "calls\tfaults\tnil\trefused\tunknown\tnot applied\tlost\tdoubled\thalf done\tagainst error\tlate p99\t"

func (t *tally) row() string {
	late := "-"
	if n := len(t.late); n > 0 {
		slices.Sort(t.late)
		late = t.late[(n-1)*99/100].Round(100 * time.Microsecond).String()
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t", t.calls, t.faults, t.ok, t.refused, t.unknown, t.notApplied,
		t.lost, t.doubled, t.half, t.despite, late)
}

func (t *tally) String() string {
	share := ""
	if t.unknown > 0 {
		share = fmt.Sprintf(" (%d %% of them not applied)", 100*t.notApplied/t.unknown)
	}
	return fmt.Sprintf("%d calls, %d faults: %d nil, %d refused, %d unknown%s; %d lost, %d doubled, %d half done, %d applied against the error",
		t.calls, t.faults, t.ok, t.refused, t.unknown, share, t.lost, t.doubled, t.half, t.despite)
}

// report is what all storms have counted.
var report tallies

type tallies struct {
	mu      sync.Mutex
	byFault map[[2]string]*tally // and target
	byCall  map[[2]string]*tally // and nothing
}

func (r *tallies) add(fault, target, call string, t tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byFault == nil {
		r.byFault, r.byCall = map[[2]string]*tally{}, map[[2]string]*tally{}
	}
	addTo(r.byFault, [2]string{fault, target}, t)
	if call != "" {
		addTo(r.byCall, [2]string{call, "all"}, t)
	}
}

func addTo(m map[[2]string]*tally, key [2]string, t tally) {
	if m[key] == nil {
		m[key] = &tally{}
	}
	m[key].add(t)
}

// total returns the sum of all calls.
func (r *tallies) total() tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all tally
	for _, t := range r.byFault {
		all.add(*t)
	}
	return all
}

func (r *tallies) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return table("fault", r.byFault) + "\n" + table("call", r.byCall)
}

func table(title string, by map[[2]string]*tally) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\ttarget\t%s\n", title, heading)
	keys := slices.SortedFunc(maps.Keys(by), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var all, sum tally
	for i, key := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\n", key[0], key[1], by[key].row())
		sum.add(*by[key])
		if i+1 == len(keys) || keys[i+1][0] != key[0] {
			if key[1] != "all" {
				fmt.Fprintf(w, "%s\tall\t%s\n", key[0], sum.row())
			}
			all.add(sum)
			sum = tally{}
		}
	}
	fmt.Fprintf(w, "all\tall\t%s\n", all.row())
	w.Flush()
	return text.String()
}
