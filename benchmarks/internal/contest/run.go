//go:build unix

package contest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

// Plan says how long to measure, and what.
type Plan struct {
	Rounds int           // of each way
	Round  time.Duration // how long new calls are made in a round
	Only   *regexp.Regexp
	Prefix string // of the names that Only is matched with
}

// Wants reports whether a plan has a way of the scenario at all.
func (p Plan) Wants(sc Scenario, place string, size Size) bool {
	return slices.ContainsFunc(sc.Ways, func(w Way) bool {
		return p.Only.MatchString(p.Prefix + FullName(sc.Name, place, size, w.Name))
	})
}

// patience is how long a round waits for calls that are under way at its end. Then it cancels them.
const patience = 10 * time.Second

// entrant is a way that takes part.
type entrant struct {
	Way
	subject Subject
	call    Call
	rounds  []round
	wrong   Wrong
	callers []caller
	err     error // of a call
}

// Run measures the ways of a scenario. In each round they take turns, in an order that is left to chance, so that what else
// the machine does meets all alike. It returns no results if the plan has none of the ways.
func Run(ctx context.Context, sc Scenario, place *places.Place, size Size, plan Plan) (results []Result, err error) {
	var ways []Way
	for _, w := range sc.Ways {
		if (w.On == nil || w.On(place)) && plan.Only.MatchString(plan.Prefix+FullName(sc.Name, place.Name, size, w.Name)) {
			ways = append(ways, w)
		}
	}
	if len(ways) == 0 {
		return nil, nil
	}
	groups := [][]Way{ways}
	if sc.Alone {
		groups = nil
		for _, w := range ways {
			groups = append(groups, []Way{w})
		}
	}
	var entrants []*entrant
	for _, group := range groups {
		more, err := together(ctx, sc, group, place, size, plan)
		if err != nil {
			return nil, err
		}
		entrants = append(entrants, more...)
	}
	return resultsOf(sc, place, size, entrants), nil
}

// together has ways take turns.
func together(
	ctx context.Context, sc Scenario, ways []Way, place *places.Place, size Size, plan Plan,
) (entrants []*entrant, err error) {
	stage, err := newStage(ctx, place, size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	if entrants, err = open(ctx, sc, ways, stage); err != nil {
		return nil, err
	}
	for n := range plan.Rounds + 1 {
		for _, i := range rand.Perm(len(entrants)) {
			e, length := entrants[i], plan.Round*time.Duration(max(1, sc.Stretch))
			if n == 0 { // to warm up
				length /= 4
			}
			r, err := e.run(ctx, sc, stage, length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
			if n > 0 {
				e.rounds = append(e.rounds, r)
			} else {
				e.wrong, e.err = Wrong{}, nil
			}
		}
	}
	return entrants, nil
}

// FullName is what -only is matched with.
func FullName(scenario, place string, size Size, way string) string {
	name := fmt.Sprintf("%s/%s/%d callers", scenario, place, size.Callers)
	if size.Rows > 1 {
		name += fmt.Sprintf("/%d rows", size.Rows)
	}
	if size.Held > 0 {
		name += fmt.Sprintf("/%d held", size.Held)
	}
	if size.Pool > 0 {
		name += fmt.Sprintf("/%d connections", size.Pool)
	}
	return name + "/" + way
}

func open(ctx context.Context, sc Scenario, ways []Way, stage *Stage) ([]*entrant, error) {
	shared := sc.NewSubject()
	if err := shared.Setup(ctx, stage); err != nil {
		return nil, err
	}
	var entrants []*entrant
	for _, w := range ways {
		e := &entrant{Way: w, subject: shared, callers: make([]caller, stage.Callers)}
		if w.NewSubject != nil {
			e.subject = w.NewSubject()
			if err := e.subject.Setup(ctx, stage); err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
		}
		stage.Subject = e.subject
		call, err := w.Open(ctx, stage)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		}
		e.call = call
		entrants = append(entrants, e)
	}
	return entrants, nil
}
