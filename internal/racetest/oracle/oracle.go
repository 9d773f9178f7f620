package oracle

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Oracle judges the ends of schedules of n clients. It is not for concurrent use.
type Oracle struct {
	// Run runs whole clients one after the other, after Setup. If moved, the sequences are moved on between the two.
	Run func(ctx context.Context, order []int, moved bool) (End, error)

	n      int
	before []Table
	orders map[string]*reference
}

// New returns an Oracle of n clients. before is the state after Setup.
func New(n int, before []Table, run func(ctx context.Context, order []int, moved bool) (End, error)) *Oracle {
	return &Oracle{Run: run, n: n, before: before, orders: map[string]*reference{}}
}

// reference is how one order of whole clients ends.
type reference struct {
	order   []int
	ends    []End
	pattern pattern
}

// Verdict is what an Oracle says of a schedule's end.
type Verdict struct {
	// Order is the order of whole clients that ends alike; nil if there is none.
	Order []int
	// Refused are the clients that ended in an error of which no order knows. Order is then one of the others.
	Refused []int
	// Varies is an order that does not always end alike, so that nothing can be said of an end that no order explains; nil if all do.
	Varies *Varying
	// Nearest is the order whose end differs least, if there is none that ends alike, and Differences is how.
	Nearest     []int
	Differences []Difference
}

// Varying is an order of whole clients that ended in two ways, and how the second differs from the first.
type Varying struct {
	Order       []int
	Differences []Difference
}

// OK reports whether an order ends alike.
func (v Verdict) OK() bool { return v.Order != nil }

// mostRuns are as many runs of an order as an end is compared with before it is called a failure.
const mostRuns = 4

// Judge judges an end. commits is the order of the clients' commits, which is tried first.
func (o *Oracle) Judge(ctx context.Context, end End, commits []int) (Verdict, error) {
	for {
		v, used, err := o.judge(ctx, end, commits)
		if err != nil || v.OK() {
			return v, err
		}
		// What was the same in two runs by chance may be volatile still.
		more := false
		for _, ref := range used {
			if len(ref.order) == 0 || len(ref.ends) >= mostRuns {
				continue
			}
			more = true
			if err := o.again(ctx, ref); err != nil {
				return Verdict{}, err
			}
		}
		if !more {
			return v, nil
		}
	}
}

// judge also returns the references that it has compared with.
func (o *Oracle) judge(ctx context.Context, end End, commits []int) (v Verdict, used []*reference, err error) {
	all := ran(end)
	none := make([]bool, o.n)
	v, used, err = o.match(ctx, end, first(permutations(all), commits), none)
	if err != nil || v.OK() {
		return v, used, err
	}
	left := o.strangers(end, used)
	rest := slices.DeleteFunc(slices.Clone(all), func(c int) bool { return left[c] })
	if len(rest) == len(all) {
		return v, used, nil
	}
	others, more, err := o.match(ctx, end, first(permutations(rest), commits), left)
	used = append(used, more...)
	if err != nil {
		return v, used, err
	}
	for c, l := range left {
		if l {
			others.Refused = append(others.Refused, c)
		}
	}
	return others, used, nil
}

// match looks for an order that ends alike. The clients of left are left out of the comparison.
func (o *Oracle) match(ctx context.Context, end End, orders [][]int, left []bool) (v Verdict, used []*reference, err error) {
	for _, order := range orders {
		ref, err := o.reference(ctx, order)
		if err != nil {
			return v, used, err
		}
		used = append(used, ref)
		got := ref.pattern.digest(end, left)
		first := ref.pattern.digest(ref.ends[0], left)
		for _, e := range ref.ends {
			digest := ref.pattern.digest(e, left)
			if digest == got {
				return Verdict{Order: ref.order}, used, nil
			}
			if digest != first && v.Varies == nil {
				v.Varies = &Varying{ref.order, ref.differences(e)}
			}
		}
	}
	best := -1
	for _, ref := range used {
		if d := ref.differences(end); best < 0 || len(d) < best {
			best, v.Nearest, v.Differences = len(d), ref.order, d
		}
	}
	o.everywhere(v.Differences, end, used)
	return v, used, nil
}

// strangers finds the clients that ended in an error that none of the references has for them.
func (o *Oracle) strangers(end End, refs []*reference) []bool {
	left := make([]bool, o.n)
	for c := range left {
		if !end.Ran[c] || end.Errs[c] == nil {
			continue
		}
		left[c] = !slices.ContainsFunc(refs, func(ref *reference) bool {
			return slices.ContainsFunc(ref.ends, func(e End) bool { return Kind(e.Errs[c]) == Kind(end.Errs[c]) })
		})
	}
	return left
}

// reference returns how an order ends, and runs it twice if that is not known.
func (o *Oracle) reference(ctx context.Context, order []int) (*reference, error) {
	key := fmt.Sprint(order)
	if ref := o.orders[key]; ref != nil {
		return ref, nil
	}
	ref := &reference{order: order}
	if len(order) == 0 {
		ref.ends = []End{{Tables: o.before, Ran: make([]bool, o.n), Errs: make([]error, o.n)}}
		ref.pattern = learn(ref.ends, o.before, time.Now())
		o.orders[key] = ref
		return ref, nil
	}
	for len(ref.ends) < 2 {
		if err := o.again(ctx, ref); err != nil {
			return nil, err
		}
	}
	o.orders[key] = ref
	return ref, nil
}

// again runs a reference once more. Every second run has the sequences moved.
func (o *Oracle) again(ctx context.Context, ref *reference) error {
	end, err := o.Run(ctx, ref.order, len(ref.ends) > 0)
	if err != nil {
		return err
	}
	ref.ends = append(ref.ends, end)
	ref.pattern = learn(ref.ends, o.before, time.Now())
	return nil
}

// Orders returns how many orders of whole clients have been run.
func (o *Oracle) Orders() int { return len(o.orders) }

func ran(end End) (clients []int) {
	for c, r := range end.Ran {
		if r {
			clients = append(clients, c)
		}
	}
	return clients
}

// permutations returns all orders of the clients.
func permutations(clients []int) [][]int {
	if len(clients) == 0 {
		return [][]int{{}}
	}
	var all [][]int
	for i, c := range clients {
		rest := slices.Delete(slices.Clone(clients), i, i+1)
		for _, p := range permutations(rest) {
			all = append(all, append([]int{c}, p...))
		}
	}
	return all
}

// first puts the order that is like wanted, which may have other clients too, at the beginning.
func first(orders [][]int, wanted []int) [][]int {
	for i, order := range orders {
		like := slices.DeleteFunc(slices.Clone(wanted), func(c int) bool { return !slices.Contains(order, c) })
		if slices.Equal(like, order) {
			return append([][]int{order}, slices.Delete(slices.Clone(orders), i, i+1)...)
		}
	}
	return orders
}

// Same reports whether two ends are alike as far as the pattern of an order tells, which has been judged before.
func (o *Oracle) Same(a, b End, order []int) bool {
	ref := o.orders[fmt.Sprint(order)]
	none := make([]bool, o.n)
	return ref == nil || ref.pattern.digest(a, none) == ref.pattern.digest(b, none)
}
