package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A step is where one buyer's request was, and when, as seen from outside of the strategy. The unsafe strategies read, then
// ask the fraud service, then write: so they had read when they asked, and wrote after the answer.
type step struct {
	buyer, server int // counted from 1
	id            int64
	left          int64 // what the buyer was told
	sold          bool

	asked, answered, done time.Time // the request to the fraud service, its answer, the end of the purchase
}

// A witness notes the steps of the buyers of one round. It is what tracing is in a real system.
type witness struct {
	mu    sync.Mutex
	steps []step
}

// begin forgets what it has noted.
func (w *witness) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = nil
}

func (w *witness) note(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, s)
}

// A race is two steps of which each has read what the other had not yet written, and both were told yes.
type race struct {
	first, second step // first is the one that read first
}

// race returns the race for the last of what there was, and nil if there was none. Between several it prefers one of two
// servers, and of them the earliest.
func (w *witness) race() *race {
	w.mu.Lock()
	defer w.mu.Unlock()
	type place struct{ id, left int64 }
	same := make(map[place][]step)
	for _, s := range w.steps {
		if s.sold {
			same[place{s.id, s.left}] = append(same[place{s.id, s.left}], s)
		}
	}
	var races []race
	for _, steps := range same {
		slices.SortFunc(steps, func(a, b step) int { return a.asked.Compare(b.asked) })
		for i, a := range steps {
			for _, b := range steps[i+1:] {
				if !b.asked.Before(a.answered) {
					break // a may have written before b read
				}
				races = append(races, race{a, b})
				if a.server != b.server {
					break
				}
			}
		}
	}
	if len(races) == 0 {
		return nil
	}
	found := slices.MinFunc(races, func(a, b race) int {
		return cmp.Or(
			cmp.Compare(a.first.left, b.first.left),
			cmp.Compare(a.oneServer(), b.oneServer()),
			a.first.asked.Compare(b.first.asked),
			cmp.Compare(a.first.buyer, b.first.buyer))
	})
	return &found
}

func (r race) oneServer() int {
	if r.first.server == r.second.server {
		return 1
	}
	return 0
}

// A moment is a line of the timeline of a race.
type moment struct {
	at     time.Duration // since the first
	buyer  string
	server int
	does   string
}

// timeline returns the moments of the race in their order.
func (r race) timeline(w *words) []moment {
	var moments []moment
	for _, s := range []step{r.first, r.second} {
		name := fmt.Sprintf("%s %d", w.buyer, s.buyer)
		moments = append(moments,
			moment{s.asked.Sub(r.first.asked), name, s.server, w.reads(s.left)},
			moment{s.done.Sub(r.first.asked), name, s.server, w.write(s.left)})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	return moments
}

// summary tells the race in one line.
func (r race) summary(w *words) string {
	return fmt.Sprintf("%s %d %s · %s %d %s · %s",
		w.buyer, r.first.buyer, w.reads(r.first.left), w.buyer, r.second.buyer, w.reads(r.second.left), w.both)
}
