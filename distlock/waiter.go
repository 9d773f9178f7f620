package distlock

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxWait is how long a process waits for a hint before it tries by itself. So it is what a lost hint costs at
	// most. It is shortened at random, so that processes don't try in step.
	maxWait = time.Second
	// yieldWait is how long a process that was just woken has to get the lock, before the one that woke it looks again.
	yieldWait = 25 * time.Millisecond
	// queueTTL is how long a queue lives that nobody refreshes. A live waiter does so every maxWait.
	queueTTL = 10 * maxWait
)

// waiters are the locks that this process waits for at the nodes. A lock has one waiter: the caller whose turn it is in
// the process.
type waiters struct {
	mu    sync.Mutex
	byKey map[string]*waiter
}

// waiter is a process's place in the queue of a lock. The queue is kept on one node: the first that answers, in an
// order that depends on the lock. A release looks for it on all nodes.
type waiter struct {
	locker *Locker
	key    string
	hint   chan struct{}   // gets a value when the process is woken
	joined *node           // where the queue is; nil if in none
	joins  <-chan struct{} // closed when the last join has ended, or NodeTimeout is over
	hinted bool            // woken, and so taken off the queue, since the last join
	placed atomic.Bool     // in the queue, unless somebody took us out
	left   atomic.Bool     // the caller is gone, or about to go
}

func (ws *waiters) add(l *Locker, key string) *waiter {
	w := &waiter{locker: l, key: key, hint: make(chan struct{}, 1)}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byKey == nil {
		ws.byKey = make(map[string]*waiter)
	}
	ws.byKey[key] = w
	return w
}

func (ws *waiters) remove(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.byKey, w.key)
}

// tell hands a hint to the waiter of a lock, or to all of them. It reports false if nobody waits for the lock.
func (ws *waiters) tell(key string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if key == "" {
		for _, w := range ws.byKey {
			w.wake()
		}
		return true
	}
	w := ws.byKey[key]
	if w != nil {
		w.wake()
	}
	return w != nil
}

func (w *waiter) wake() {
	select {
	case w.hint <- struct{}{}:
	default: // one is as good as two
	}
}

// join takes a place in the queue, or keeps the one it has. The place is at the end; it is at the head if this process
// was woken, and somebody else was faster.
//
// left is how long the lock has left on the node with the queue; it is negative if nobody holds it there. ok is false
// if no node could be asked.
func (w *waiter) join(ctx context.Context) (left time.Duration, ok bool) {
	first := w.hinted
	w.hinted = false
	for _, n := range w.locker.queueNodes(w.key) {
		if n.late.Load() {
			continue
		}
		r := newRound(ctx, queueing, 1, w.locker.config.nodeTimeout)
		r.until(ctx)
		w.joins = r.ctx.Done()
		left, err := ask(r, n, func(ctx context.Context) (time.Duration, error) {
			if err := n.inbox.open(ctx); err != nil {
				return 0, err
			}
			left, err := n.join(ctx, w.key, w.locker.process, first, queueTTL)
			w.placed.Store(true) // perhaps, if there was an error
			if w.left.Load() {   // while we were on our way in
				w.resign(ctx, n, false)
			}
			return left, err
		})
		r.end()
		w.joined = n // perhaps, if there was an error
		if err == nil {
			return left, true
		}
		if ctx.Err() != nil {
			break
		}
	}
	return 0, false
}

// yield lets another process go first: the one that was woken when this one released the lock. Meanwhile this one takes
// a place in the queue. yield returns when this one is woken in its turn, or when a try is due.
func (w *waiter) yield(ctx context.Context) {
	if _, queued := w.join(ctx); !queued {
		return
	}
	w.wait(ctx, yieldWait)
	if w.hinted || w.locker.ended(ctx) != nil {
		return
	}
	// If somebody holds the lock by now, wait for that one too. A try might come at the moment of its release, and push
	// in ahead of those who queue.
	if left, queued := w.join(ctx); queued && left >= 0 {
		w.wait(ctx, pollWait(left))
	}
}

// wait waits for a hint, for d, or for the end of ctx.
func (w *waiter) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.hint:
		w.hinted = true
	case <-timer.C:
	case <-ctx.Done():
	case <-w.locker.tasks.closing.Done():
	}
}

// leave gives the place in the queue up. A caller that leaves without the lock passes on the hint that it got, since
// the lock may be free and nobody else knows. It waits for a join that it has interrupted: what that one put into the
// queue later, or took out again, would stand for the next caller of this process.
func (w *waiter) leave(acquired bool) {
	if w.joins != nil && !acquired {
		<-w.joins
	}
	w.left.Store(true)
	w.locker.waiters.remove(w)
	select {
	case <-w.hint:
		w.hinted = true
	default:
	}
	if w.joined == nil || (w.hinted && acquired) {
		return
	}
	n := w.joined
	r := newRound(context.Background(), queueing, 1, w.locker.config.nodeTimeout)
	defer r.end()
	ask(r, n, func(ctx context.Context) (struct{}, error) {
		if acquired {
			_, err := n.leave(ctx, w.key, w.locker.process)
			return struct{}{}, err
		}
		return struct{}{}, w.resign(ctx, n, w.hinted)
	})
}

// resign takes this process out of the queue. If it has a hint to pass on, or somebody was faster and took it out to
// wake it, resign wakes the next process instead.
//
// The hint to this process, which is still on its way then, can't be relied on for that: while the caller has its turn
// in the process, Locker.deliver takes it for one that is about to get the lock.
func (w *waiter) resign(ctx context.Context, n *node, hinted bool) error {
	placed := w.placed.Swap(false)
	removed, err := n.leave(ctx, w.key, w.locker.process)
	if hinted || (err == nil && placed && !removed) {
		n.wakeNext(ctx, w.key)
	}
	return err
}

// queueNodes returns the nodes in the order in which processes look for the queue of a lock. Different locks begin with
// different nodes, to spread the work. All processes must agree on the order, so it comes from a hash without a seed.
func (l *Locker) queueNodes(key string) []*node {
	if len(l.nodes) == 1 {
		return l.nodes
	}
	var sum uint32 = 2166136261 // FNV-1a
	for i := range len(key) {
		sum = (sum ^ uint32(key[i])) * 16777619
	}
	first := int(sum % uint32(len(l.nodes)))
	return append(l.nodes[first:len(l.nodes):len(l.nodes)], l.nodes[:first]...)
}

// deliver is called with each hint that arrives. If nobody here waits for the lock any more, it goes to the next
// process. But if a caller has the turn, that one has the lock, or is about to try: nobody else needs to be woken
// before it is done.
func (l *Locker) deliver(n *node, key string) {
	if l.waiters.tell(key) {
		return
	}
	if turn, free := l.line.Try(strings.TrimPrefix(key, l.config.prefix)); free {
		turn.Done()
		l.tasks.run(func() {
			ctx, cancel := context.WithTimeout(context.Background(), l.config.nodeTimeout)
			defer cancel()
			n.wakeNext(ctx, key)
		})
	}
}

// pollWait returns how long to wait for a hint while somebody holds the lock. It is no longer than the lock's key
// lives, in case the holder has died.
func pollWait(left time.Duration) time.Duration {
	d := maxWait - rand.N(maxWait/4)
	if left >= 0 {
		d = min(d, left+time.Millisecond)
	}
	return d
}
