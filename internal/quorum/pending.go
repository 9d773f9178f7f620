package quorum

import (
	"context"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/backoff"
)

// pendingDeletes are the keys that a node may have set, or may yet set, for attempts that have failed, or may still have
// after their release. It did not answer, and a command that was sent is run even if the client has gone away; or it said
// that it can't run the command now. They are deleted once the node answers again. The zero value is ready for use.
type pendingDeletes struct {
	mu      sync.Mutex
	deletes map[pendingDelete]int // how often the node has yet to say that the key is not there
}

type pendingDelete struct{ key, value string }

const (
	// maxPending bounds the memory spent on a node that stays away. The TTL takes care of what exceeds it.
	maxPending = 1024
	// pendingChecks is more than once, because a node that wakes up may read a command only after one that was sent
	// later on another connection.
	pendingChecks = 2
)

// deleteLater has a key deleted in the background if it has the value.
func (n *Node) deleteLater(key, value string) {
	p := &n.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.deletes) >= maxPending {
		return
	}
	if p.deletes == nil {
		p.deletes = make(map[pendingDelete]int)
		n.background.Go(n.deletePending)
	}
	p.deletes[pendingDelete{key, value}] = pendingChecks
}

// deletePending runs until nothing is pending, or the background is closed.
func (n *Node) deletePending() {
	p := &n.pending
	pause := backoff.FullJitter(n.timeout/4, time.Second)
	for attempt := 1; ; attempt++ {
		if n.deleteAllOnce() {
			attempt = 1 // the node answers
		}
		p.mu.Lock()
		if len(p.deletes) == 0 {
			p.deletes = nil
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if backoff.Sleep(n.background.Closing(), pause(attempt)) != nil {
			return
		}
	}
}

// deleteAllOnce tries all keys once. It reports whether the node carried out all that it was asked. One that does not, is
// not asked for the next key, unless that may be on another server.
func (n *Node) deleteAllOnce() bool {
	p := &n.pending
	p.mu.Lock()
	deletes := make([]pendingDelete, 0, len(p.deletes))
	for d := range p.deletes {
		deletes = append(deletes, d)
	}
	p.mu.Unlock()
	all := true
	for _, d := range deletes {
		ctx, cancel := context.WithTimeout(context.Background(), n.timeout)
		_, err := n.delete(ctx, d.key, d.value)
		cancel()
		if !settled(err) {
			if all = false; n.slotted && answered(err) {
				continue
			}
			return false
		}
		p.mu.Lock()
		if p.deletes[d]--; p.deletes[d] <= 0 {
			delete(p.deletes, d)
		}
		p.mu.Unlock()
	}
	return all
}
