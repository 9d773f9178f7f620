package waitqueue

import (
	"context"
	"sync"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/quorum"
)

// Waiters is where the callers of one process wait for locks. It is made by New and safe for concurrent use.
type Waiters struct {
	nodes      []*quorum.Node
	process    string
	keys       quorum.Keys
	backoff    backoff.Policy
	failed     func(ctx context.Context, n *quorum.Node, name string, err error)
	hopeless   func() <-chan struct{}
	background *background.Group

	local         keyqueue.Queue[string] // the callers of this process, by name
	subscriptions []*subscription        // by node

	mu    sync.Mutex
	hints map[string]chan struct{} // by key: those who wait for another process, one caller for each lock
}

// Config says how a process waits.
type Config struct {
	Process string // its name, which no other process has
	Keys    quorum.Keys
	Backoff backoff.Policy // how long to wait where nobody will wake the process
	// Failed is called when a caller could not take its place in the queue of a lock, or subscribe to be woken.
	Failed func(ctx context.Context, n *quorum.Node, name string, err error)
	// Hopeless returns a channel that is closed when nobody needs to wait any more, also because the background is
	// closed.
	Hopeless func() <-chan struct{}
}

// New returns the Waiters of a process.
func New(nodes []*quorum.Node, c Config, bg *background.Group) *Waiters {
	ws := &Waiters{
		nodes: nodes, process: c.Process, keys: c.Keys, backoff: c.Backoff, failed: c.Failed, hopeless: c.Hopeless, background: bg,
		hints: make(map[string]chan struct{}),
	}
	for _, n := range nodes {
		ws.subscriptions = append(ws.subscriptions, &subscription{
			node: n, process: c.Process, background: bg,
			deliver: func(key string) { ws.deliver(n, key) },
		})
	}
	return ws
}

// register has the hints for a lock go to a channel, until unregister.
func (ws *Waiters) register(key string, hint chan struct{}) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.hints[key] = hint
}

func (ws *Waiters) unregister(key string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.hints, key)
}

// deliver is called with each hint that arrives from a node. If nobody here waits for the lock any more, it goes to the
// next process. But if a caller has the turn, that one has the lock, or is about to try: nobody else needs to be woken
// before it is done.
func (ws *Waiters) deliver(n *quorum.Node, key string) {
	if ws.tell(key) {
		return
	}
	if turn, free := ws.local.Try(ws.keys.Name(key)); free {
		turn.Done()
		ws.background.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), n.Timeout())
			defer cancel()
			ws.wakeNext(ctx, n, key)
		})
	}
}

// tell hands a hint to the caller that waits for a lock, or to all of them if key is empty. It reports false if nobody
// waits for the lock.
func (ws *Waiters) tell(key string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if key == "" {
		for _, hint := range ws.hints {
			send(hint)
		}
		return true
	}
	hint, waits := ws.hints[key]
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
func (ws *Waiters) nodesOf(key string) []*quorum.Node {
	if len(ws.nodes) == 1 {
		return ws.nodes
	}
	var sum uint32 = 2166136261 // FNV-1a
	for i := range len(key) {
		sum = (sum ^ uint32(key[i])) * 16777619
	}
	first := int(sum % uint32(len(ws.nodes)))
	return append(ws.nodes[first:len(ws.nodes):len(ws.nodes)], ws.nodes[:first]...)
}
