package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A strategy is a way to sell. Every API server opens a seller of its own.
type strategy struct {
	name  string
	about string
	safe  bool
	open  func(shop) (seller, error)
	redis int // how many Redis nodes it needs at least
}

// A seller sells one piece of an item at a time. It is called by many requests at once. If it has a method Close, that
// is called when its server has stopped.
type seller interface {
	// purchase takes one piece out of the stock of the item and returns how many are left. It returns errSoldOut if
	// there are none, and sql.ErrNoRows if there is no such item. Before it takes the piece it calls check, which asks
	// another service whether the sale may go ahead, and gives up if that returns an error.
	purchase(ctx context.Context, item int64, check func(context.Context) error) (left int64, err error)
}

var errSoldOut = errors.New("sold out")

// strategies are all there are, in the order in which they run.
var strategies = []strategy{
	{name: "unsafe", about: "read the stock, decide, write it back: the bug", open: openUnsafe},
	{name: "atomic", about: "take one in a single guarded UPDATE", safe: true, open: openAtomic},
	{name: "pessimistic", about: "lock the row, read, decide, write it back", safe: true, open: openPessimistic},
	{name: "optimistic", about: "write only what nobody has changed since it was read, else start again", safe: true, open: openOptimistic},
	{name: "redis-lock", about: "a lock on one Redis node around the unsafe code", safe: true, open: openRedisLock, redis: 1},
	{name: "redlock", about: "a lock on a majority of Redis nodes around the unsafe code", safe: true, open: openRedlock, redis: 3},
	{name: "atomic-coalesced", about: "one guarded UPDATE for all who wait", safe: true, open: openCoalesced},
}

// chooseStrategies returns those in a comma-separated list of names, in its order; all of them if the list is empty.
func chooseStrategies(list string) ([]strategy, error) {
	if list == "" {
		return strategies, nil
	}
	var chosen []strategy
	for name := range strings.SplitSeq(list, ",") {
		s, err := findStrategy(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

// withRedis returns those that can do with so many nodes. If they were chosen by name, one that can't is an error.
func withRedis(chosen []strategy, nodes int, named bool) ([]strategy, error) {
	var can []strategy
	for _, s := range chosen {
		switch {
		case s.redis <= nodes:
			can = append(can, s)
		case named:
			return nil, fmt.Errorf("%s needs at least %d nodes, not %d", s.name, s.redis, nodes)
		}
	}
	return can, nil
}

func findStrategy(name string) (strategy, error) {
	var names []string
	for _, s := range strategies {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return strategy{}, fmt.Errorf("there is no %q, only %s", name, strings.Join(names, ", "))
}
