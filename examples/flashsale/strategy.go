package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A strategy is a way to serve the requests of a story. Every API server opens a seller of its own.
type strategy struct {
	name   string
	about  string
	safe   bool
	open   func(shop) (seller, error)
	redis  int                   // how many Redis nodes it needs at least
	tables func(s shop) []string // statements that make tables of its own
}

// A seller serves one request at a time: it sells one piece of an item, pays from a wallet or likes a post for a user. It is
// called by many requests at once. If it has a method Close, that is called when its server has stopped.
type seller interface {
	// purchase takes one of what there is for id and returns how many are left. It returns a refusal if there are none,
	// and sql.ErrNoRows if there is no such id. Before it takes one it calls check, which asks another service whether
	// the sale may go ahead, and gives up if that returns an error.
	purchase(ctx context.Context, id int64, check func(context.Context) error) (left int64, err error)
}

// A refusal is the error by which a seller says no.
type refusal string

func (r refusal) Error() string { return string(r) }

// choose returns the strategies of the stories that are in a comma-separated list of names, in its order; all of them if
// the list is empty. A story of which none is named is left out.
func choose(from []*story, list string) ([]*story, error) {
	if list == "" {
		return from, nil
	}
	names := strings.Split(list, ",")
	found := make(map[string]bool)
	var chosen []*story
	for _, st := range from {
		some := *st
		some.strategies = nil
		for i := range names {
			names[i] = strings.TrimSpace(names[i])
			if s, ok := st.strategy(names[i]); ok {
				found[s.name] = true
				some.strategies = append(some.strategies, s)
			}
		}
		if some.strategies != nil {
			chosen = append(chosen, &some)
		}
	}
	for _, name := range names {
		if !found[name] {
			err := fmt.Errorf("there is no %q, only %s", name, strings.Join(strategyNames(from), ", "))
			for _, other := range stories {
				if _, ok := other.strategy(name); ok {
					return nil, fmt.Errorf("%w; -story %s has it", err, other.name)
				}
			}
			return nil, err
		}
	}
	return chosen, nil
}

func (st *story) strategy(name string) (strategy, bool) {
	i := slices.IndexFunc(st.strategies, func(s strategy) bool { return s.name == name })
	if i < 0 {
		return strategy{}, false
	}
	return st.strategies[i], true
}

// strategyNames returns the name of each strategy of the stories once.
func strategyNames(of []*story) []string {
	var names []string
	for _, st := range of {
		for _, s := range st.strategies {
			if !slices.Contains(names, s.name) {
				names = append(names, s.name)
			}
		}
	}
	return names
}

// withRedis returns the stories without the strategies that need more than so many nodes, and the names of these. If they
// were chosen by name, that is an error.
func withRedis(chosen []*story, nodes int, named bool) (can []*story, leftOut []string, err error) {
	for _, st := range chosen {
		some := *st
		some.strategies = nil
		for _, s := range st.strategies {
			switch {
			case s.redis <= nodes:
				some.strategies = append(some.strategies, s)
			case named:
				return nil, nil, fmt.Errorf("%s needs at least %d nodes, not %d", s.name, s.redis, nodes)
			default:
				leftOut = append(leftOut, s.name)
			}
		}
		can = append(can, &some)
	}
	return can, leftOut, nil
}
