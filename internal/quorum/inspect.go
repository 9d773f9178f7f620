package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// State is what the nodes say of a lock at one moment. The zero value is that of a free lock.
type State struct {
	Held    bool          // by anybody
	Holder  string        // the value of the holder's acquisition
	Label   string        // of the holder
	Left    time.Duration // how long a majority still has the lock; negative if it does not end by itself
	Waiting int           // how many processes wait for it
}

// never is what a key has left that has no TTL.
const never = time.Duration(-1)

// sighting is what one node says.
type sighting struct {
	held  bool // there
	value string
	left  time.Duration
	queue []string
}

// Inspect asks the nodes who holds a lock. It returns as well when ctx ends. failed tells why it can't be said: it is nil
// if a majority names one holder, or enough nodes have answered to know that no majority does.
func (ns *Nodes) Inspect(ctx context.Context, name string) (s State, failed *Tally) {
	key := ns.keys.Lock(name)
	r := newRound(ctx, len(ns.nodes), ns.timeout)
	defer r.end()
	r.interruptedBy(ctx)
	answers := make([]*sighting, len(ns.nodes))
	var wg sync.WaitGroup
	for i, n := range ns.nodes {
		wg.Go(func() {
			seen, err := ask(r, n, func(ctx context.Context) (sighting, error) { return n.inspect(ctx, key) })
			if err == nil {
				answers[i] = &seen
			}
			r.vote(n, err)
		})
	}
	wg.Wait()
	s, known := stateOf(answers)
	if !known {
		return State{}, r.tally()
	}
	return s, nil
}

// inspect returns what the node says of the lock with the key.
func (n *Node) inspect(ctx context.Context, key string) (sighting, error) {
	var seen sighting
	reply, err := inspectScript.Run(ctx, n.client, []string{key}).Slice()
	if err == nil {
		var ms int64
		if len(reply) == 2 {
			seen.held = true
			seen.value, _ = reply[0].(string)
			ms, _ = reply[1].(int64)
		}
		if ms == 0 {
			return seen, fmt.Errorf("unexpected reply %v", reply)
		}
		if seen.left = max(time.Duration(ms), 1) * time.Millisecond; ms < 0 {
			seen.left = never
		}
	} else if !errors.Is(err, redis.Nil) {
		return seen, err
	}
	seen.queue, err = n.client.LRange(ctx, n.keys.Queue(key), 0, -1).Result()
	return seen, err
}

// stateOf returns what the nodes agree on. Those that have not answered are nil. known is false if it depends on these.
func stateOf(answers []*sighting) (s State, known bool) {
	quorum, silent := majority(len(answers)), 0
	waiting := map[string]bool{}
	lefts := map[string][]time.Duration{} // by holder
	for _, a := range answers {
		if a == nil {
			silent++
			continue
		}
		for _, process := range a.queue {
			waiting[process] = true
		}
		if a.held {
			lefts[a.value] = append(lefts[a.value], a.left)
		}
	}
	known = silent < quorum
	for holder, left := range lefts {
		if len(left) >= quorum {
			slices.SortFunc(left, longestFirst)
			return State{Held: true, Holder: holder, Label: labelOf(holder), Left: left[quorum-1], Waiting: len(waiting)}, true
		}
		known = known && len(left)+silent < quorum
	}
	return State{}, known
}

func longestFirst(a, b time.Duration) int {
	switch {
	case a == b:
		return 0
	case a == never || b != never && a > b:
		return -1
	}
	return 1
}

// Break deletes the lock where it is held by the holder that a majority of the nodes names, and nowhere else: a later
// holder has another value. It wakes the process that has waited longest. held is false if nobody holds the lock. failed
// is nil if a majority has confirmed it; what other nodes still have is deleted in the background.
func (ns *Nodes) Break(ctx context.Context, name string, wake Waker) (held bool, failed *Tally) {
	s, failed := ns.Inspect(ctx, name)
	if failed != nil || !s.Held {
		return failed != nil, failed
	}
	a := &Acquisition{nodes: ns, key: ns.keys.Lock(name), value: s.Holder, grants: make([]grant, len(ns.nodes))}
	for i, n := range ns.nodes {
		a.grants[i].node, a.grants[i].state = n, granted
	}
	_, failed = a.Release(ctx, wake)
	return failed == nil || !failed.Lost(), failed
}
