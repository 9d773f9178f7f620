package quorum

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// batch is one extension of several locks. It asks a node with one script, or one pipeline. The majority is counted for each lock
// by itself, with redsync's allowance for clocks: redsync needs a goroutine for each lock and node, and a process that
// holds thousands of leases spends more time with these than the servers need to answer.
type batch struct {
	round    *round
	start    time.Time // before anything was sent: the TTLs count from here
	renewals []*renewal
	nodes    []*Node
	answers  [][]extension // by node, and lock; nil while there is none
	missing  int           // nodes without answers
	told     []bool        // by lock
}

// extension is what a node says to the extension of a lock.
type extension struct {
	yes bool
	err error
}

// underWay counts the exchanges that have not ended, by node: also those for which nobody waits any more.
type underWay []atomic.Int32

func (u underWay) any() bool {
	for i := range u {
		if u[i].Load() > 0 {
			return true
		}
	}
	return false
}

// extendAll makes the renewals, and tells each of them what came of it as soon as enough nodes have answered. It returns
// when no node is waited for any more.
func (ns *Nodes) extendAll(u underWay, due []*renewal) {
	ctx := context.Background()
	if len(due) == 1 {
		ctx = due[0].ctx
	}
	b := &batch{
		start: time.Now(), round: newRound(ctx, len(ns.nodes), ns.timeout), renewals: due, nodes: ns.nodes,
		answers: make([][]extension, len(ns.nodes)), missing: len(ns.nodes), told: make([]bool, len(due)),
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range ns.nodes {
		wg.Go(func() {
			answers := b.ask(&u[i], ns.nodes[i])
			mu.Lock()
			defer mu.Unlock()
			b.answers[i] = answers
			b.missing--
			if heard := b.tell(); len(heard) > 0 {
				ns.renewals.background.Go(func() { hear(heard) })
			}
		})
	}
	wg.Wait()
	b.round.end()
	ns.outage.note(b.round.tally())
}

// hear calls what the renewals have left to be done when all of them know what came of them.
func hear(heard []func()) {
	for _, f := range heard {
		f()
	}
}

// ask asks a node. It returns what the node says to the extension of each lock.
func (b *batch) ask(unfinished *atomic.Int32, n *Node) []extension {
	var answers []extension
	err := error(overrun(maxBatches))
	if unfinished.Add(1) > maxBatches {
		unfinished.Add(-1)
	} else {
		answers, err = ask(b.round, n, func(ctx context.Context) ([]extension, error) {
			defer unfinished.Add(-1)
			return n.extendAll(ctx, b.renewals)
		})
		if errors.Is(err, errOverrun) { // it was not asked
			unfinished.Add(-1)
		}
	}
	if err != nil {
		answers = make([]extension, len(b.renewals))
		for i := range answers {
			answers[i].err = err
		}
	}
	b.round.vote(n, err)
	return answers
}

// tell tells the renewals that are decided what came of them. It returns what they have left to be done.
func (b *batch) tell() (heard []func()) {
	for i, r := range b.renewals {
		if b.told[i] || !b.decided(i) {
			continue
		}
		b.told[i] = true
		until, inTime := validity(b.start, r.a.nodes.ttl)
		var failed *Tally
		if yes, _ := b.count(i); yes < majority(len(b.nodes)) || !inTime {
			until, failed = time.Time{}, b.tallyOf(i)
		}
		if f := r.done(until, failed); f != nil {
			heard = append(heard, f)
		}
	}
	return heard
}

// decided reports whether what came of the extension of one of the locks is known: the nodes that are missing can't change
// it, or none is.
func (b *batch) decided(i int) bool {
	yes, gone := b.count(i)
	quorum := majority(len(b.nodes))
	return yes >= quorum || gone > len(b.nodes)-quorum || b.missing == 0
}

// count returns how many nodes have extended one of the locks, and how many don't have it.
func (b *batch) count(i int) (yes, gone int) {
	for _, answers := range b.answers {
		switch {
		case answers == nil || answers[i].err != nil:
		case answers[i].yes:
			yes++
		default:
			gone++
		}
	}
	return yes, gone
}

// tallyOf returns what the nodes have said so far to the extension of one of the locks.
func (b *batch) tallyOf(i int) *Tally {
	t := &Tally{Total: len(b.nodes)}
	for n, answers := range b.answers {
		err := errUnanswered
		if answers != nil {
			if err = answers[i].err; err == nil && !answers[i].yes {
				err = errGone
			}
		}
		if err != nil {
			t.Failed = append(t.Failed, b.nodes[n].Failure(err))
		}
	}
	return t
}

// apartAfterRefusal is for how long a script has the key of one lock only, after the server has refused one that had several.
const apartAfterRefusal = time.Minute

// extendAll extends several locks with one script, if the node is a server that has all keys. An error says that it extended none,
// as far as is known.
func (n *Node) extendAll(ctx context.Context, due []*renewal) ([]extension, error) {
	several := len(due) > 1
	if several && (!n.alone.Load() || time.Now().UnixNano() < n.apart.Load()) {
		return n.extendOneByOne(ctx, due)
	}
	keys, values := make([]string, len(due)), make([]any, len(due))
	for i, r := range due {
		keys[i], values[i] = r.a.key, r.a.value
	}
	answers, err := n.extend(ctx, keys, values, due[0].a.nodes.ttl)
	if several && err != nil && settled(err) {
		// The user has no right to one of the keys, for example, or it is a service that spreads them over servers.
		n.apart.Store(time.Now().Add(apartAfterRefusal).UnixNano())
		return n.extendOneByOne(ctx, due)
	}
	return answers, err
}

// extendOneByOne extends each lock with a script of its own, in one pipeline.
func (n *Node) extendOneByOne(ctx context.Context, due []*renewal) ([]extension, error) {
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
		cmds[j] = run(ctx, pipe, []string{a.key}, a.nodes.ttl.Milliseconds(), a.value)
	}
	pipe.Exec(ctx) // each command has its own error
	for j, i := range which {
		if extended, err := extensions(cmds[j], 1); err == nil {
			answers[i] = extended[0]
		} else {
			answers[i] = extension{err: err}
			if goredis.HasErrorPrefix(err, "NOSCRIPT") {
				unknown = append(unknown, i)
			}
		}
	}
	return unknown
}
