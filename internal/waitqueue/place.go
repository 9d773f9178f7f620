package waitqueue

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/quorum"
)

const (
	// maxWait is how long a process waits for a hint before it tries by itself. So it is what a lost hint costs at
	// most. It is shortened at random, so that processes don't try in step.
	maxWait = time.Second
	// YieldWait is how long a process that was just woken has to get the lock, before the one that woke it looks again.
	YieldWait = 25 * time.Millisecond
)

// place is the place of this process in the queue of a lock. The queue is kept on one node: the first that answers, in
// an order that depends on the lock. A release looks for it on all nodes.
type place struct {
	waiters *Waiters
	key     string
	hint    chan struct{}   // gets a value when the process is woken
	node    *quorum.Node    // where the queue is; nil if in none
	joins   <-chan struct{} // closed when the last join has ended, or the node's time is over
	hinted  bool            // woken, and so taken off the queue, since the last join
	tries   int             // failed attempts since somebody was known to hold the lock
	queued  atomic.Bool     // in the queue, unless somebody took us out
	left    atomic.Bool     // the caller is gone, or about to go
	strange bool            // the key is none that a holder sets, and the caller knows
}

func newPlace(ws *Waiters, key string) *place {
	p := &place{waiters: ws, key: key, hint: make(chan struct{}, 1)}
	ws.register(key, p.hint)
	return p
}

// join takes a place in the queue, or keeps the one it has. The place is at the end; it is at the head if this process
// was woken, and somebody else was faster.
//
// left is how long the lock has left on the node with the queue; it is negative if nobody holds it there. ok is false
// if no node could be asked.
func (p *place) join(ctx context.Context) (left time.Duration, ok bool) {
	first := p.hinted
	p.hinted = false
	for _, n := range p.waiters.nodesOf(p.key) {
		if n.Late() {
			continue
		}
		left, err := p.joinAt(ctx, n, first)
		p.node = n // perhaps, if there was an error
		if err == nil {
			return left, true
		}
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return endless, true // as good as a key that never ends
		}
		if ctx.Err() != nil || p.waiters.background.Closed() {
			break
		}
		p.waiters.failed(ctx, n, p.waiters.keys.Name(p.key), err)
	}
	return 0, false
}

func (p *place) joinAt(ctx context.Context, n *quorum.Node, first bool) (left time.Duration, err error) {
	var answer time.Duration
	p.joins, err = n.AskUntil(ctx, func(ctx context.Context) error {
		if err := p.waiters.subscriptions[n.Index()].open(ctx); err != nil {
			return err
		}
		left, err := push(ctx, n, p.key, p.waiters.process, first)
		p.queued.Store(true) // perhaps, if there was an error
		if p.left.Load() {   // while we were on our way in
			p.resign(ctx, n, false)
		}
		answer = left
		return err
	})
	if err != nil {
		return 0, err // the answer may still come
	}
	return answer, nil
}

// yield lets another process go first: the one that was woken when this one released the lock. Meanwhile this one takes
// a place in the queue. yield returns when this one is woken in its turn, or when a try is due.
func (p *place) yield(ctx context.Context) {
	start := time.Now()
	if _, ok := p.join(ctx); !ok {
		return
	}
	// The wake-up and the attempt of the other one travel, too: on a slow network for longer than it has.
	p.wait(ctx, YieldWait+2*time.Since(start))
	if p.hinted || ctx.Err() != nil || p.waiters.background.Closed() {
		return
	}
	// If somebody holds the lock by now, wait for that one too. A try might come at the moment of its release, and push
	// in ahead of those who queue.
	if left, ok := p.join(ctx); ok && left >= 0 {
		p.wait(ctx, pollWait(left))
	}
}

// waitForRelease waits until a try is due. held says that another process is known to hold the lock. It returns at once,
// the first time, and reports true if the key is none that a holder sets.
func (p *place) waitForRelease(ctx context.Context, held bool) (strange bool) {
	left, ok := p.join(ctx)
	var pause time.Duration
	switch {
	case ok && left == endless && !p.strange:
		p.strange = true
		return true
	case ok && left < 0 && p.tries == 0:
		p.tries++ // released just before we were in the queue: nobody will wake us
	case ok && left >= 0 && held:
		p.tries = 0
		pause = pollWait(left)
	default: // the vote was split, or nodes are down: nobody will wake us
		p.tries++
		pause = p.waiters.backoff(p.tries)
	}
	p.wait(ctx, pause)
	return false
}

// wait waits for a hint, for d, for the end of ctx, or until waiting is hopeless.
func (p *place) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.hint:
		p.hinted = true
	case <-timer.C:
	case <-ctx.Done():
	case <-p.waiters.hopeless():
	}
}

// leave gives the place in the queue up. A caller that leaves without the lock passes on the hint that it got, since
// the lock may be free and nobody else knows. It waits for a join that it has interrupted: what that one put into the
// queue later, or took out again, would stand for the next caller of this process.
func (p *place) leave(acquired bool) {
	if p.joins != nil && !acquired {
		<-p.joins
	}
	p.left.Store(true)
	p.waiters.unregister(p.key)
	select {
	case <-p.hint:
		p.hinted = true
	default:
	}
	if p.node == nil || (p.hinted && acquired) {
		return
	}
	n := p.node
	n.Ask(context.Background(), func(ctx context.Context) error {
		if acquired {
			_, err := remove(ctx, n, p.key, p.waiters.process)
			return err
		}
		return p.resign(ctx, n, p.hinted)
	})
}

// resign takes this process out of the queue. If it has a hint to pass on, or somebody was faster and took it out to
// wake it, resign wakes the next process instead.
//
// The hint to this process, which is still on its way then, can't be relied on for that: while the caller has its turn
// in the process, Waiters.deliver takes it for one that is about to get the lock.
func (p *place) resign(ctx context.Context, n *quorum.Node, hinted bool) error {
	queued := p.queued.Swap(false)
	removed, err := remove(ctx, n, p.key, p.waiters.process)
	if hinted || (err == nil && queued && !removed) {
		p.waiters.wakeNext(ctx, n, p.key)
	}
	return err
}

// pollWait returns how long to wait for a hint while somebody holds the lock. It is no longer than the lock's key
// lives, in case the holder has died.
func pollWait(left time.Duration) time.Duration {
	d := maxWait - rand.N(maxWait/4)
	if left >= 0 && left < d {
		d = min(d, left+time.Millisecond)
	}
	return d
}
