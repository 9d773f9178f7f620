package distlock

import (
	"context"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/waitqueue"
)

// handover is what the end of one turn leaves to the next one in the process.
type handover struct {
	owned *ownership // the lock itself, or
	yield time.Time  // the duty to let the process go first that was woken, until this time
}

// yields reports whether another process is to go first.
func (h handover) yields() bool { return time.Now().Before(h.yield) }

// discard releases a lock that nobody takes over.
func (h handover) discard() {
	if h.owned != nil {
		h.owned.release(context.Background())
	}
}

// handovers keeps them from the end of one turn to the beginning of the next.
type handovers struct {
	waiters    *waitqueue.Waiters
	background *background.Group

	mu     sync.Mutex
	byName map[string]handover
}

// leave leaves h to the next caller in the process. The caller has the turn.
func (hs *handovers) leave(name string, h handover) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.byName[name] = h
}

// take takes what the last turn has left. The caller has the turn.
func (hs *handovers) take(name string) handover {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h, ok := hs.byName[name]
	if ok {
		delete(hs.byName, name)
	}
	return h
}

// yields reports whether another process is to go first.
func (hs *handovers) yields(name string) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.byName[name].yields()
}

// forget forgets h when its time is over, if nobody has taken it.
func (hs *handovers) forget(name string, h handover) {
	time.AfterFunc(time.Until(h.yield), func() {
		hs.mu.Lock()
		defer hs.mu.Unlock()
		if hs.byName[name] == h {
			delete(hs.byName, name)
		}
	})
}

// sweep looks after what was left when nobody was there to take it: a lock is released, and a duty stays for as long as
// it lasts. Whoever may have been the last to go looks behind: the one who left it, and those who gave up.
func (hs *handovers) sweep(name string) {
	hs.mu.Lock()
	h, left := hs.byName[name]
	hs.mu.Unlock()
	if !left {
		return
	}
	if h.owned == nil {
		hs.forget(name, h)
		return
	}
	if turn, free := hs.waiters.Try(name); free { // else the one with the turn takes it
		hs.background.Go(hs.discarding(name, turn))
	}
}

// discarding returns a function of its own, so that only a caller that runs it pays for what it captures.
func (hs *handovers) discarding(name string, turn waitqueue.Turn) func() {
	return func() {
		hs.take(name).discard()
		turn.Done()
	}
}
