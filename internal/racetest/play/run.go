package play

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// run is one schedule while it is played. All of its fields but the first three belong to the goroutine that plays it.
type run struct {
	messages chan message
	over     chan struct{} // closed when nobody reads messages any more
	underway sync.Map      // *gate.Statement to *request

	player  *Player
	serial  bool // one client after the other
	trace   *Trace
	clients []*clientState
	waiting []*request // blocked or busy, in the order of their dispatch
	txs     map[*gate.Session]*txState
	handled int // messages
	calls   sync.WaitGroup
}

// clientState is what the schedule knows of a client.
type clientState struct {
	*Client
	cancel    context.CancelFunc
	started   bool
	exited    bool
	parked    bool
	done      map[string]int // how often it has made a step with the same result
	refused   bool           // a lock that somebody else holds: trying again is of no use before that one lets it have it
	goroutine int64
	steps     int
	asking    []*request
	flying    []*request // sent, blocked, busy or back
}

type txState struct {
	effects effect.Tx
	ran     int  // statements that succeeded in the transaction
	held    bool // one of them has locked something
}

func (r *run) handle(m message) {
	r.handled++
	c := r.clients[m.client]
	switch m.kind {
	case begun:
		c.goroutine = m.goroutine
	case asks:
		c.parked = false
		if c.exited { // what is left to do, such as the ROLLBACK of a context that has ended
			r.dispatch(c, m.req)
			return
		}
		c.asking = append(c.asking, m.req)
	case withdraws:
		if i := slices.Index(c.asking, m.req); i >= 0 {
			c.asking = slices.Delete(c.asking, i, i+1)
		}
	case answers:
		m.req.state = back
		if errors.As(m.req.result.Err, new(Empty)) || gate.Busy(m.req.result.Err) && r.mayRetry(m.req) {
			m.req.state = busy
		}
		if c.exited && m.req.state == back {
			r.finish(m.req)
		}
	case exited:
		c.exited, c.parked = true, false
		r.encourage(c)
		r.trace.Errs[m.client] = m.err
		r.trace.Entries = append(r.trace.Entries, Entry{What: Returned, Client: m.client})
		if !slices.Contains(r.trace.Commits, m.client) {
			r.trace.Commits = append(r.trace.Commits, m.client)
		}
		c.cancel()
	}
}

// mayRetry reports whether a driver that waits for locks would have waited here: not in the middle of a transaction, whose
// snapshot is old by then.
func (r *run) mayRetry(req *request) bool {
	return req.session != nil && (!req.op.InTx || req.op.Kind == gate.Commit || r.tx(req.session).ran == 0)
}

func (r *run) tx(s *gate.Session) *txState {
	t, ok := r.txs[s]
	if !ok {
		t = &txState{}
		r.txs[s] = t
	}
	return t
}

// events returns the two events of an operation.
func (r *run) events(c *clientState, req *request) (dispatch, done effect.Event, after effect.Tx) {
	var before effect.Tx
	if req.session != nil {
		before = r.tx(req.session).effects
	}
	command := effect.Run
	switch req.op.Kind {
	case gate.Begin:
		command = effect.Begin
	case gate.Commit:
		command = effect.Commit
	case gate.Rollback:
		command = effect.Rollback
	}
	dispatch, done, after = before.Step(command, req.op.Level, req.op.Access)
	dispatch.Client, done.Client = c.index, c.index
	dispatch.Step, done.Step = c.steps, c.steps
	done.Done = true
	return dispatch, done, after
}

// moves returns what can be done next.
func (r *run) moves(wanted []bool) []Move {
	var moves, refused []Move
	for i, c := range r.clients {
		switch {
		case !c.started && wanted[i]:
			moves = append(moves, Move{Client: i})
		case len(c.asking) > 0:
			req := c.asking[0]
			d, e, _ := r.events(c, req)
			m := Move{Client: i, Started: true, Op: req.op, Dispatch: d, Done: e}
			if c.refused && !r.serial && req.op.Kind != gate.Rollback && req.op.Kind != gate.Commit {
				refused = append(refused, m)
			} else {
				moves = append(moves, m)
			}
		}
	}
	if len(moves) == 0 {
		return refused
	}
	return moves
}

// mostSteps are more than a schedule has.
const mostSteps = 2000

// step has a client make its next step, and everything that follows from it by itself.
func (r *run) step(ctx context.Context, client int) error {
	c := r.clients[client]
	if len(r.trace.Steps) >= mostSteps {
		return doubt(fmt.Sprintf("the clients have made %d steps and don't come to an end: bound how often they try again, and how many rows they "+
			"go through", mostSteps))
	}
	if !c.started {
		if err := r.start(ctx, c); err != nil {
			return err
		}
	}
	if len(c.asking) > 0 {
		req := c.asking[0]
		c.asking = c.asking[1:]
		r.dispatch(c, req)
		if err := r.settle(ctx, req); err != nil {
			return err
		}
	}
	return r.wake(ctx)
}

// start calls the client's function, and returns when it has its first step to make.
func (r *run) start(ctx context.Context, c *clientState) error {
	c.started = true
	ctx, c.cancel = context.WithCancel(ctx)
	r.calls.Go(func() { c.call(ctx, r) })
	return r.steady(ctx, c)
}

func (r *run) dispatch(c *clientState, req *request) {
	d, e, after := r.events(c, req)
	req.step = &Step{Op: req.op, Client: c.index, N: c.steps, Dispatch: d, Done: e, Until: -1}
	c.steps++
	if req.session != nil {
		t := r.tx(req.session)
		t.effects = after
		if req.op.Kind == gate.Begin {
			t.ran, t.held = 0, false
		}
	}
	r.trace.Steps = append(r.trace.Steps, req.step)
	r.trace.Events = append(r.trace.Events, d)
	req.state = sent
	c.flying = append(c.flying, req)
	req.granted <- nil
}

// settle waits until a step is done and its client is at the next one, or until it waits for a lock.
func (r *run) settle(ctx context.Context, req *request) error {
	c := r.clients[req.client]
	if err := r.until(ctx, func() bool { return req.state != sent }, func() error { return r.lookBlocked(ctx, req) }); err != nil {
		return err
	}
	if req.state == back {
		if req.step.Waited {
			r.waiting = slices.DeleteFunc(r.waiting, func(w *request) bool { return w == req })
		}
		r.finish(req)
		return r.steady(ctx, c)
	}
	if !req.step.Waited {
		if req.state == blocked {
			began := time.Now()
			err := r.until(ctx, func() bool { return req.state != blocked || time.Since(began) > r.player.Rest }, func() error { return nil })
			if err != nil {
				return err
			}
			if req.state != blocked {
				return r.settle(ctx, req)
			}
		}
		req.step.Waited = true
		r.waiting = append(r.waiting, req)
		r.trace.Entries = append(r.trace.Entries, Entry{Step: req.step, What: Sent, Client: req.client})
	}
	return nil
}

// lookBlocked asks the server whether a step that is under way waits for a lock.
func (r *run) lookBlocked(ctx context.Context, req *request) error {
	if req.session == nil || req.state != sent {
		return nil
	}
	waits, err := r.player.Blocked(ctx, req.session)
	if err == nil && waits {
		req.state = blocked
	}
	return err
}

// finish lets the client see the result of a step.
func (r *run) finish(req *request) {
	step := req.step
	step.Result, step.Finished = req.result, true
	c := r.clients[req.client]
	c.flying = slices.DeleteFunc(c.flying, func(f *request) bool { return f == req })
	if r.lets(req) {
		r.encourage(c)
	}
	if req.session != nil && req.result.Err == nil && req.op.Kind != gate.Begin {
		t := r.tx(req.session)
		t.ran++
		t.held = t.held || !step.Done.Locks.Empty()
	}
	if req.op.Kind == gate.Begin && req.result.Err != nil {
		r.tx(req.session).effects = effect.Tx{}
	}
	c.refused = c.refused || sqlerr.Of(req.result.Err).Has(sqlerr.LockBusy) || c.polls(step)
	r.trace.Events = append(r.trace.Events, step.Done)
	what := Did
	if step.Waited {
		what = Woke
	}
	r.trace.Entries = append(r.trace.Entries, Entry{Step: step, What: what, Client: req.client})
	if !step.Done.Visible.Empty() && req.result.Err == nil {
		r.trace.Commits = append(slices.DeleteFunc(r.trace.Commits, func(c int) bool { return c == req.client }), req.client)
	}
	req.again <- false
}

// lets reports whether a step may let another client have what it was refused: it has given back locks, or changed something.
func (r *run) lets(req *request) bool {
	switch {
	case req.result.Err != nil:
		return false
	case req.op.Kind == gate.Commit, req.op.Kind == gate.Rollback:
		return r.tx(req.session).held
	}
	return !req.op.InTx && !req.step.Done.Visible.Empty()
}

// encourage has the other clients try again what they were refused.
func (r *run) encourage(c *clientState) {
	for _, other := range r.clients {
		if other != c {
			other.refused, other.done = false, nil
		}
	}
}

// tooOften is how often a client does the same in vain before it is taken to wait for another one.
const tooOften = 3

// polls reports whether a client has asked for the same again and again, such as for a lock that it makes by itself.
func (c *clientState) polls(s *Step) bool {
	if s.Kind == gate.Begin || s.Kind == gate.Commit || s.Kind == gate.Rollback || s.Result.Affected > 0 {
		return false
	}
	if c.done == nil {
		c.done = map[string]int{}
	}
	did := fmt.Sprint(s.Text, s.Args, s.Result.Rows, s.Result.Err)
	c.done[did]++
	return c.done[did] >= tooOften
}

// wake looks after the steps that waited for a lock, and the clients that waited in the process, until nothing moves any more.
func (r *run) wake(ctx context.Context) error {
	for moved := true; moved; {
		moved = false
		for _, req := range slices.Clone(r.waiting) {
			if req.state == busy {
				req.state = sent
				req.again <- true
			} else if req.state == blocked {
				req.state = sent
				if err := r.lookBlocked(ctx, req); err != nil {
					return err
				}
			}
			last := len(r.trace.Steps) - 1
			if err := r.settle(ctx, req); err != nil {
				return err
			}
			if req.step.Finished {
				req.step.Until = r.lastFinished(req.step, last)
				moved = true
			}
		}
		for _, c := range r.clients {
			if !c.parked {
				continue
			}
			if how, _ := pauseOf(stackOf(c.goroutine)); how == computing {
				c.parked = false
				if err := r.steady(ctx, c); err != nil {
					return err
				}
				moved = moved || !c.parked
			}
		}
	}
	return nil
}

// lastFinished returns the step that ended last before another one did.
func (r *run) lastFinished(woken *Step, from int) int {
	for i := from; i >= 0; i-- {
		if s := r.trace.Steps[i]; s != woken && s.Finished {
			return i
		}
	}
	return -1
}

// anything waits until something happens by itself: the server ends a deadlock, a client wakes from its sleep.
func (r *run) anything(ctx context.Context) error {
	for _, req := range r.waiting {
		if req.state == busy { // nobody is left who could give the lock back: a busy_timeout would end here
			req.state = back
			return r.settle(ctx, req)
		}
	}
	before := r.handled
	if err := r.until(ctx, func() bool { return r.handled != before }, func() error { return nil }); err != nil {
		return err
	}
	for _, req := range slices.Clone(r.waiting) {
		if req.state == back {
			if err := r.settle(ctx, req); err != nil {
				return err
			}
		}
	}
	for _, c := range r.clients {
		if c.started && !c.parked {
			if err := r.steady(ctx, c); err != nil {
				return err
			}
		}
	}
	return r.wake(ctx)
}

func (r *run) allExited() bool {
	return !slices.ContainsFunc(r.clients, func(c *clientState) bool { return c.started && !c.exited })
}
