package distlock

import (
	"context"
	"sync"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/waitqueue"
)

// handover is what the end of one turn leaves to the next one in the process.
type handover struct {
	owned *ownership // the lock itself, or
	yield bool       // the duty to let the process go first that was woken
}

// discard releases a lock that nobody takes over.
func (h handover) discard() {
	if h.owned != nil {
		h.owned.release(context.Background())
	}
}

// handovers keeps them from the end of one turn to the beginning of the next.
type handovers struct {
	queue      *waitqueue.Queue
	background *background.Group

	mu    sync.Mutex
	byKey map[string]handover
}

// leave leaves h to the next caller in the process. The caller has the turn.
func (hs *handovers) leave(key string, h handover) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.byKey[key] = h
}

// take takes what the last turn has left. The caller has the turn.
func (hs *handovers) take(key string) handover {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h, ok := hs.byKey[key]
	if ok {
		delete(hs.byKey, key)
	}
	return h
}

// sweep releases a lock that was left when nobody was there to take it. Whoever may have been the last to go looks
// behind: the one who left it, and those who gave up.
func (hs *handovers) sweep(key string) {
	hs.mu.Lock()
	_, left := hs.byKey[key]
	hs.mu.Unlock()
	if !left {
		return
	}
	turn, free := hs.queue.Try(key)
	if !free {
		return // the one with the turn takes it
	}
	hs.background.Go(func() {
		hs.take(key).discard()
		turn.Done()
	})
}
