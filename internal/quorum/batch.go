package quorum

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	goredis "github.com/redis/go-redis/v9"
)

// batch is one extension of several locks. redsync counts the nodes for each of the locks, as it does for one; but what
// it asks of a node meets in one pipeline.
type batch struct {
	*round
	renewals  []*renewal
	pipelines []*pipeline // by node
}

// pipeline is what a batch asks of one node.
type pipeline struct {
	batch   *batch
	node    *Node
	asked   atomic.Int32  // for how many of the locks
	done    chan struct{} // closed when answers is there
	answers []extension   // by lock
}

// extension is what a node says to the extension of a lock.
type extension struct {
	yes bool
	err error
}

// extendAll makes the renewals, and tells each of them what came of it.
func (ns *Nodes) extendAll(due []*renewal) {
	ctx := context.Background()
	if len(due) == 1 {
		ctx = due[0].ctx
	}
	b := &batch{round: newRound(ctx, len(ns.nodes), ns.timeout), renewals: due}
	for _, n := range ns.nodes {
		b.pipelines = append(b.pipelines, &pipeline{batch: b, node: n, done: make(chan struct{})})
	}
	var wg sync.WaitGroup
	for i, r := range due {
		wg.Go(func() {
			until, failed := b.extend(i)
			r.done(until, failed)
		})
	}
	wg.Wait()
	b.end()
	ns.outage.note(b.tally())
}

// extend extends one of the locks.
func (b *batch) extend(i int) (until time.Time, failed *Tally) {
	m := b.mutex(i)
	if ok, _ := m.ExtendContext(b.ctx); !ok {
		return time.Time{}, b.tallyOf(i)
	}
	return m.Until(), nil
}

// extender is what an extension needs of redsync's Mutex.
type extender interface {
	ExtendContext(ctx context.Context) (bool, error)
	Until() time.Time
}

func (b *batch) mutex(i int) extender {
	a := b.renewals[i].a
	if len(b.pipelines) == 1 {
		return &singleExtension{ttl: a.nodes.ttl, extend: func() (bool, error) { return b.pipelines[0].extend(i) }}
	}
	pools := make([]redis.Pool, len(b.pipelines))
	for n, p := range b.pipelines {
		pools[n] = extendingPool{&extendingConn{pipeline: p, index: i}}
	}
	return redsync.New(pools...).NewMutex(a.key, redsync.WithValue(a.value), redsync.WithExpiry(a.nodes.ttl))
}

// tallyOf returns what the nodes said to the extension of one of the locks.
func (b *batch) tallyOf(i int) *Tally {
	t := &Tally{Total: len(b.pipelines)}
	for _, p := range b.pipelines {
		yes, err := p.answer(i)
		switch {
		case err == nil && !yes:
			err = errGone
		case err == nil:
			continue
		}
		t.Failed = append(t.Failed, p.node.Failure(err))
	}
	return t
}

// extend returns what the node says to the extension of one of the locks. The last that asks has the pipeline sent: the
// time of a lock counts from when it asked.
func (p *pipeline) extend(i int) (bool, error) {
	if int(p.asked.Add(1)) == len(p.batch.renewals) {
		p.send()
	}
	select {
	case <-p.done:
	case <-p.batch.ctx.Done(): // send is about to end, if it was called
	}
	return p.answer(i)
}

// send asks the node.
func (p *pipeline) send() {
	answers, err := ask(p.batch.round, p.node, func(ctx context.Context) ([]extension, error) {
		return p.node.extendAll(ctx, p.batch.renewals)
	})
	if err != nil {
		answers = make([]extension, len(p.batch.renewals))
		for i := range answers {
			answers[i].err = err
		}
	}
	p.batch.vote(p.node, err)
	p.answers = answers
	close(p.done)
}

// answer returns what the node has said to the extension of one of the locks.
func (p *pipeline) answer(i int) (bool, error) {
	select {
	case <-p.done:
		return p.answers[i].yes, p.answers[i].err
	default:
		return false, timeoutError{after: p.node.timeout}
	}
}

// extendAll extends several locks in one pipeline. It returns an error if the node has answered nothing.
func (n *Node) extendAll(ctx context.Context, due []*renewal) ([]extension, error) {
	if len(due) == 1 {
		yes, err := n.extend(ctx, due[0].a.key, due[0].a.value, due[0].a.nodes.ttl)
		return []extension{{yes, err}}, err
	}
	answers := make([]extension, len(due))
	all := make([]int, len(due))
	for i := range all {
		all[i] = i
	}
	unknown := n.extendIn(ctx, due, all, answers, extendScript.EvalSha)
	if len(unknown) > 0 { // the server has started anew, and has forgotten the script
		n.extendIn(ctx, due, unknown, answers, extendScript.Eval)
	}
	for _, a := range answers {
		if answered(a.err) {
			return answers, nil
		}
	}
	return answers, answers[0].err
}

type runScript func(ctx context.Context, c goredis.Scripter, keys []string, args ...any) *goredis.Cmd

// extendIn extends some of the locks in one pipeline. It returns those for which the server did not know the script.
func (n *Node) extendIn(ctx context.Context, due []*renewal, which []int, answers []extension, run runScript) (unknown []int) {
	pipe, err := n.pipeline(ctx, due[0].a.key)
	if err != nil {
		for _, i := range which {
			answers[i].err = err
		}
		return nil
	}
	cmds := make([]*goredis.Cmd, len(which))
	for j, i := range which {
		a := due[i].a
		cmds[j] = run(ctx, pipe, []string{a.key}, a.value, a.nodes.ttl.Milliseconds())
	}
	pipe.Exec(ctx) // each command has its own error
	for j, i := range which {
		status, err := cmds[j].Int64()
		answers[i] = extension{status > 0, err}
		if goredis.HasErrorPrefix(err, "NOSCRIPT") {
			unknown = append(unknown, i)
		}
	}
	return unknown
}

// extendingPool is redsync's Pool for one node and the extension of one lock.
type extendingPool struct{ conn *extendingConn }

// Get implements redis.Pool.
func (p extendingPool) Get(context.Context) (redis.Conn, error) { return p.conn, nil }

// extendingConn is redsync's Conn for one node and the extension of one lock.
type extendingConn struct {
	unused
	pipeline *pipeline
	index    int
}

// Eval is called with redsync's script that extends the lock.
func (c *extendingConn) Eval(script *redis.Script, _ ...any) (any, error) {
	if script.Hash != redsyncScripts().extend {
		return c.unused.Eval(script)
	}
	yes, err := c.pipeline.extend(c.index)
	if !yes {
		return int64(0), err
	}
	return int64(1), nil
}
