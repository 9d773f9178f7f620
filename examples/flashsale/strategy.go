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
}

// A seller sells one piece of an item at a time. It is called by many requests at once.
type seller interface {
	// purchase takes one piece out of the stock of the item and returns how many are left. It returns errSoldOut if
	// there are none, and sql.ErrNoRows if there is no such item. Before it takes the piece it calls check, which asks
	// another service whether the sale may go ahead, and gives up if that returns an error.
	purchase(ctx context.Context, item int64, check func(context.Context) error) (left int64, err error)
}

var errSoldOut = errors.New("sold out")

// strategies are all there are, in the order in which they run.
var strategies = []strategy{
	{"unsafe", "read the stock, decide, write it back: the bug", false, openUnsafe},
	{"atomic", "take one in a single guarded UPDATE", true, openAtomic},
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
