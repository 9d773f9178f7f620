package waitqueue

import (
	"context"
	"strings"
	"sync"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/quorum"
)

// Queue is where the callers of one process wait for locks. It is made by New and safe for concurrent use.
type Queue struct {
	nodes      []*quorum.Node
	process    string
	prefix     string
	backoff    backoff.Policy
	background *background.Group

	local         keyqueue.Queue[string] // the callers of this process, by name
	subscriptions []*subscription        // by node

	mu    sync.Mutex
	hints map[string]chan struct{} // by key: those who wait for another process, one caller for each lock
}

// Config says how a process waits.
type Config struct {
	Process string         // its name, which no other process has
	Prefix  string         // of the names of locks, to make their keys
	Backoff backoff.Policy // how long to wait where nobody will wake the process
}

// New returns the Queue of a process.
func New(nodes []*quorum.Node, c Config, bg *background.Group) *Queue {
	q := &Queue{
		nodes: nodes, process: c.Process, prefix: c.Prefix, backoff: c.Backoff, background: bg,
		hints: make(map[string]chan struct{}),
	}
	for _, n := range nodes {
		q.subscriptions = append(q.subscriptions, &subscription{
			client: n.Given(), channel: channel(c.Process), background: bg, ready: make(chan struct{}),
			deliver: func(key string) { q.deliver(n, key) },
		})
	}
	return q
}

// register has the hints for a lock go to a channel, until unregister.
func (q *Queue) register(key string, hint chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hints[key] = hint
}

func (q *Queue) unregister(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.hints, key)
}

// deliver is called with each hint that arrives from a node. If nobody here waits for the lock any more, it goes to the
// next process. But if a caller has the turn, that one has the lock, or is about to try: nobody else needs to be woken
// before it is done.
func (q *Queue) deliver(n *quorum.Node, key string) {
	if q.tell(key) {
		return
	}
	if turn, free := q.local.Try(strings.TrimPrefix(key, q.prefix)); free {
		turn.Done()
		q.background.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), n.Timeout())
			defer cancel()
			wakeNext(ctx, n, key)
		})
	}
}

// tell hands a hint to the caller that waits for a lock, or to all of them if key is empty. It reports false if nobody
// waits for the lock.
func (q *Queue) tell(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if key == "" {
		for _, hint := range q.hints {
			send(hint)
		}
		return true
	}
	hint, waits := q.hints[key]
	if waits {
		send(hint)
	}
	return waits
}

func send(hint chan struct{}) {
	select {
	case hint <- struct{}{}:
	default: // one is as good as two
	}
}

// nodesOf returns the nodes in the order in which processes look for the queue of a lock. Different
// locks begin with different nodes, to spread the work. All processes must agree on the order, so it comes from a hash
// without a seed.
func (q *Queue) nodesOf(key string) []*quorum.Node {
	if len(q.nodes) == 1 {
		return q.nodes
	}
	var sum uint32 = 2166136261 // FNV-1a
	for i := range len(key) {
		sum = (sum ^ uint32(key[i])) * 16777619
	}
	first := int(sum % uint32(len(q.nodes)))
	return append(q.nodes[first:len(q.nodes):len(q.nodes)], q.nodes[:first]...)
}
