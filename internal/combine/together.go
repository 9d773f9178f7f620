package combine

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Together is a Work that can carry out the batches of several rows in one step, which waits for the lock of no row. A Group
// makes use of that while so many rows are under way that they wait for one another in the server or for its connections.
type Together[C, M any] interface {
	Work[C, M]
	// Detach returns the key in a form that does not change after its caller has returned, and whether the row may be carried out
	// together with others.
	Detach(key []any) (detached []any, ok bool)
	// Together carries out the first calls of the batches, which are those of different keys, and sets Done of each. A batch
	// with a Done of 0 was not carried out: nothing was written for it, and Alone or Batch is called for it next. ctx ends
	// shortly before Bounds.Timeout and by nothing else. worked is false if nothing could be carried out in this way.
	Together(ctx context.Context, rows []*Row[C, M]) (worked bool)
}

// Row is the batch of one row, for Together.
type Row[C, M any] struct {
	Key   []any // as Detach returned it
	Calls []*C
	Known *M
	Done  int // how many of the first calls were carried out
}

const (
	// maxRows is how many rows are carried out together at most.
	maxRows = 200
	// crowdBegins is how many rows are under way when their batches begin to be carried out together, and crowdEnds how many when
	// that ends. With fewer, each has a statement of its own: several of them at once share one flush of the server's log.
	crowdBegins, crowdEnds = 32, 16
	// firstPause is for how long nothing is carried out together after that was of no use. It doubles up to lastPause.
	firstPause, lastPause = 10 * time.Millisecond, 5 * time.Second
)

// crowd is the queue of the rows of a Group that wait to be carried out together. The first of them leads: it carries out all
// that wait, while those that come later wait for the next one.
type crowd[C, M any] struct {
	work    Together[C, M]
	dense   atomic.Bool  // between crowdBegins and crowdEnds
	resumes atomic.Int64 // until then, in nanoseconds since 1970, nothing is carried out together

	mu      sync.Mutex
	led     bool
	waiting list.List // of *entry[C, M]
	pause   time.Duration
}

// entry is a row in a crowd, whose turn its own caller has.
type entry[C, M any] struct {
	turn     *turn[C, M]
	others   []*turn[C, M]
	crowded  *atomic.Bool
	row      Row[C, M]
	deadline time.Time // of the batch
	err      error     // why nothing was begun
	place    *list.Element
	fate     fate
	ready    chan struct{} // closed when the fate is decided
}

// fate is what becomes of an entry.
type fate uint8

const (
	leads     fate = iota + 1
	apart          // it was not collected: the row's caller goes on as if there were no crowd
	collected      // Done says what was carried out
	refused        // err says why nothing was begun
	gone           // its caller's context has ended
	lost           // the goroutine that carried it out did not come back in time
	crashed        // that goroutine panicked
	late           // its own caller is the one who did not come back in time: all others have their answers
)

// joins reports whether a row is to be carried out together with others when so many are under way.
func (c *crowd[C, M]) joins(running int64) bool {
	dense := c.dense.Load()
	switch {
	case running >= crowdBegins && !dense:
		c.dense.Store(true)
		dense = true
	case running <= crowdEnds && dense:
		c.dense.Store(false)
		dense = false
	}
	return dense && !c.pausing()
}

func (c *crowd[C, M]) pausing() bool {
	resumes := c.resumes.Load()
	return resumes != 0 && time.Now().UnixNano() < resumes
}

// learn notes whether it was of use to carry out rows together.
func (c *crowd[C, M]) learn(worked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if worked {
		c.pause = 0
		return
	}
	c.pause = max(firstPause, min(2*c.pause, lastPause))
	c.resumes.Store(time.Now().Add(c.pause).UnixNano())
}

// await puts the entry into the queue, and waits for what becomes of it. If that lasts longer than the limit, the row goes
// apart.
func (c *crowd[C, M]) await(ctx context.Context, e *entry[C, M], limit time.Duration) fate {
	if c.enter(e) {
		return leads
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-e.ready:
		return e.fate
	case <-ctx.Done():
	case <-timer.C:
	}
	if c.leave(e) {
		if ctx.Err() != nil {
			return gone
		}
		return apart
	}
	<-e.ready
	return e.fate
}

// enter reports whether the entry leads. Otherwise it waits.
func (c *crowd[C, M]) enter(e *entry[C, M]) (leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.led {
		c.led = true
		return true
	}
	e.ready = make(chan struct{})
	e.place = c.waiting.PushBack(e)
	return false
}

// leave takes an entry out of the queue, and reports whether it was still there.
func (c *crowd[C, M]) leave(e *entry[C, M]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.place == nil {
		return false
	}
	c.waiting.Remove(e.place)
	e.place = nil
	return true
}

// take takes the first entries that wait out of the queue.
func (c *crowd[C, M]) take(most int) (taken []*entry[C, M]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(taken) < most {
		e := c.next()
		if e == nil {
			break
		}
		taken = append(taken, e)
	}
	return taken
}

// behind returns how many entries wait.
func (c *crowd[C, M]) behind() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting.Len()
}

// next takes the first entry out of the queue. The crowd is locked.
func (c *crowd[C, M]) next() *entry[C, M] {
	first := c.waiting.Front()
	if first == nil {
		return nil
	}
	e := c.waiting.Remove(first).(*entry[C, M])
	e.place = nil
	return e
}

// handOver lets the next entry lead. In a pause all entries go apart.
func (c *crowd[C, M]) handOver() {
	pausing := c.pausing()
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.next(); e != nil; e = c.next() {
		if !pausing {
			e.decide(leads)
			return
		}
		e.decide(apart)
	}
	c.led = false
}

func (e *entry[C, M]) decide(f fate) {
	e.fate = f
	close(e.ready)
}

// leadTogether carries out the calls of a row together with those of others. The error is that of lead.
func (g *Group[C, M]) leadTogether(ctx context.Context, e *entry[C, M], key []any) error {
	f := g.crowd.await(ctx, e, g.bounds.Timeout)
	switch {
	case f == leads && ctx.Err() != nil:
		g.crowd.handOver()
		f = gone
	case f == leads:
		f = g.leadCrowd(ctx, e)
	}
	return g.settle(ctx, e, key, f)
}

// settle does what is left to do for an entry.
func (g *Group[C, M]) settle(ctx context.Context, e *entry[C, M], key []any, f fate) (err error) {
	t := e.turn
	switch f {
	case apart:
		if e.others, err = g.collect(t, e.crowded); err == nil {
			g.carryOut(ctx, t, key, e.others, 0, time.Time{})
			return nil
		}
	case collected:
		if e.row.Done <= len(e.others) {
			g.carryOut(ctx, t, key, e.others, e.row.Done, e.deadline)
			return nil
		}
		answer(e.others, carriedOut)
		g.flight.end()
		pass(t)
		return nil
	case refused:
		err = e.err
	case gone:
		err = ctx.Err()
	case late:
		if e.row.Done == 0 {
			return context.DeadlineExceeded
		}
		return nil
	case lost:
		t.Value.ending = abandoned
		answer(e.others, abandoned)
	case crashed:
		t.Value.ending = panicked
		answer(e.others, panicked)
	}
	g.flight.end()
	t.Done()
	return err
}

func answer[C, M any](others []*turn[C, M], how ending) {
	for _, other := range others {
		other.Value.ending = how
		other.Answer()
	}
}

// leadCrowd carries out the batches of the rows that wait, and of the first, which is the caller's own. It returns what becomes
// of that one, when the next entry leads already. If no other row waits, the first is carried out in the same way, which waits
// for no lock of its row: meanwhile others come.
func (g *Group[C, M]) leadCrowd(ctx context.Context, first *entry[C, M]) fate {
	gather(g.crowd.behind, 200*time.Microsecond)
	taken := g.crowd.take(maxRows - 1)
	rows := make([]*entry[C, M], 0, 1+len(taken))
	if first.others, first.err = g.collect(first.turn, first.crowded); first.err == nil {
		rows = append(rows, first)
	} // else the Group was closed, and so it will be for all of them
	for _, e := range taken {
		if !e.turn.Value.staying() {
			e.decide(gone)
		} else if e.others, e.err = g.collect(e.turn, e.crowded); e.err != nil {
			e.decide(refused)
		} else {
			rows = append(rows, e)
		}
	}
	if first.err != nil {
		g.crowd.handOver()
		return refused
	}
	return g.runCrowd(ctx, rows)
}

// joint is a step in which several rows are carried out, the first of them by its own caller.
type joint[C, M any] struct {
	mu   sync.Mutex
	rows []*entry[C, M]
	over bool
}

// end decides what becomes of the rows, except the first. It reports false if that is decided.
func (j *joint[C, M]) end(f fate) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return false
	}
	j.over = true
	for _, e := range j.rows[1:] {
		e.decide(f)
	}
	return true
}

// runCrowd carries out the rows, and returns what becomes of the first. The context that ends them is nobody's own.
func (g *Group[C, M]) runCrowd(ctx context.Context, rows []*entry[C, M]) (own fate) {
	deadline := time.Now().Add(g.bounds.Timeout)
	// A transaction may take a second longer than its context to tell what came of it, and is to do so before it counts as lost.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(-min(g.bounds.Timeout/8, grace/4)))
	defer cancel()
	first, j := rows[0], joint[C, M]{rows: rows}
	all := make([]*Row[C, M], len(rows))
	for i, e := range rows {
		e.deadline = deadline
		e.fill()
		all[i] = &e.row
	}
	timer := time.AfterFunc(g.bounds.patience(), func() {
		if j.end(lost) {
			answer(first.others, abandoned)
			g.flight.abandon()
			first.turn.Done()
			g.crowd.learn(false)
			g.crowd.handOver()
		}
	})
	worked, returned := false, false
	defer func() {
		timer.Stop()
		f := collected
		if !returned {
			f = crashed
		}
		if !j.end(f) {
			g.flight.comeBack()
			own = late
			return
		}
		g.crowd.learn(worked)
		g.crowd.handOver()
		if !returned {
			answer(first.others, panicked)
			g.flight.end()
			first.turn.Done()
		}
	}()
	worked = g.crowd.work.Together(ctx, all)
	returned = true
	return collected
}

// fill makes the batch of an entry.
func (e *entry[C, M]) fill() {
	t := e.turn
	if t.Value.known == nil {
		t.Value.known = new(M)
	}
	e.row.Known = t.Value.known
	e.row.Calls = make([]*C, 1, 1+len(e.others))
	e.row.Calls[0] = &t.Value.call
	for _, other := range e.others {
		e.row.Calls = append(e.row.Calls, &other.Value.call)
	}
}
