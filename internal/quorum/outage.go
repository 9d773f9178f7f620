package quorum

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// outage notes since when no majority of the nodes has been in order. That is a fact of the nodes, and so of everybody
// who waits for a lock, whatever its name is.
type outage struct {
	limit  time.Duration
	broken atomic.Bool // failed is not nil

	waiting   atomic.Int32 // callers who wait for a lock, and so ask again and again
	unwatched atomic.Bool  // nobody has waited at some time since last

	mu      sync.Mutex
	failed  *Tally        // what the nodes said last; nil while a majority is in order
	since   time.Time     // when they were first found out of order
	last    time.Time     // when they were last found so
	over    chan struct{} // closed when it has lasted for the limit, or waiting has ended for good
	isOver  bool
	stopped bool
}

func newOutage(limit time.Duration, stop context.Context) *outage {
	o := &outage{limit: limit, over: make(chan struct{})}
	context.AfterFunc(stop, o.stop)
	return o
}

// note notes what an operation has found: failed is what the nodes said, nil if enough of them said yes.
func (o *outage) note(failed *Tally) {
	if failed == nil || failed.Answered() {
		if o.broken.Load() {
			o.end()
		}
		return
	}
	if failed.Interrupted() {
		return // it says nothing of the nodes
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.failed != nil && o.gap(now) {
		o.recover() // this is another outage
	}
	o.unwatched.Store(o.waiting.Load() == 0)
	if o.failed == nil {
		o.since = now
	}
	o.failed, o.last = failed, now
	o.broken.Store(true)
	if now.Sub(o.since) >= o.limit {
		o.finish()
	}
}

// gap reports whether so long ago nobody has asked that the nodes may have been in order meanwhile. Whoever waits asks as
// often as the Backoff says; a watchdog asks several times within a TTL. That an outage has lasted for the limit is
// believed for as long. It is locked.
func (o *outage) gap(now time.Time) bool {
	since := now.Sub(o.last)
	return since > o.limit || since > o.limit/2 && !o.isOver && o.unwatched.Load()
}

// Waiting says that a caller waits for a lock, until done is called.
func (ns *Nodes) Waiting() (done func()) {
	o := ns.outage
	o.waiting.Add(1)
	return o.leave
}

func (o *outage) leave() {
	if o.waiting.Add(-1) == 0 {
		o.unwatched.Store(true)
	}
}

// end says that a majority of the nodes is in order.
func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recover()
}

// stop ends all waiting for good.
func (o *outage) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	o.finish()
}

// recover begins anew. It is locked.
func (o *outage) recover() {
	o.failed = nil
	o.broken.Store(false)
	if o.isOver && !o.stopped {
		o.over, o.isOver = make(chan struct{}), false
	}
}

// finish closes over. It is locked.
func (o *outage) finish() {
	if !o.isOver {
		close(o.over)
		o.isOver = true
	}
}

// Hopeless returns a channel that is closed when no majority of the nodes has been in order for a whole TTL, or the
// background is closed. It is another channel once a majority is in order again.
func (ns *Nodes) Hopeless() <-chan struct{} {
	ns.outage.mu.Lock()
	defer ns.outage.mu.Unlock()
	return ns.outage.over
}

// Broken returns what the nodes said last if no majority of them has been in order for a whole TTL, as far as anybody
// has asked, or else nil.
func (ns *Nodes) Broken() *Tally {
	o := ns.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil || o.last.Sub(o.since) < o.limit {
		return nil
	}
	return o.failed
}
