package quorum

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
)

const (
	// maxBatch is how many renewals are sent in one pipeline. A larger one might not be answered within the node's time
	// by a server that is slow or far away.
	maxBatch = 512
	// maxBatches is how many batches may be under way to one server.
	maxBatches = 4
)

// renewals are the extensions that are due in the process: those of leases that somebody holds for long. They are made
// in batches, first those of the locks that end first. However many are due, few batches are under way at a time, and
// no more than there are free connections: a server, or a client whose connections are in use, is not given more work
// when it is slow.
type renewals struct {
	nodes      *Nodes
	gather     time.Duration // for which renewals that fall due are collected
	background *background.Group

	mu    sync.Mutex
	lanes map[string]*lane // by the servers that a renewal goes to; one unless clients choose the server by the key
}

// lane has the renewals that go to the same servers. A server that hangs behind a Cluster or a Ring holds up no renewal
// of the others.
type lane struct {
	key       string
	servers   []*redis.Client // by node, as far as they are known
	due       dueRenewals
	gathering bool // a timer runs that starts the next batch
	batches   int  // under way
}

// renewal is one extension that is due.
type renewal struct {
	a    *Acquisition
	ctx  context.Context
	ends time.Time // when the lock would end without it
	done func(until time.Time, failed *Tally)
}

// dueRenewals is a heap: that of the lock which ends first is at the top.
type dueRenewals []*renewal

func (d dueRenewals) Len() int           { return len(d) }
func (d dueRenewals) Less(i, j int) bool { return d[i].ends.Before(d[j].ends) }
func (d dueRenewals) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueRenewals) Push(r any)        { *d = append(*d, r.(*renewal)) }

func (d *dueRenewals) Pop() any {
	last := len(*d) - 1
	r := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return r
}

func newRenewals(ns *Nodes, bg *background.Group) *renewals {
	return &renewals{nodes: ns, gather: ns.ttl / 200, background: bg, lanes: make(map[string]*lane)}
}

// add has an extension made soon. It waits for nothing: a Cluster's client may have to ask its servers which of them has
// the key, and the watchdogs that call add must go on meanwhile.
func (rs *renewals) add(r *renewal) {
	if !rs.nodes.slotted() { // all go to the same servers
		rs.queue("", r, nil)
		return
	}
	rs.background.Go(func() {
		servers := rs.nodes.servers(r.ctx, r.a.key)
		rs.queue(fmt.Sprint(servers), r, servers)
	})
}

// queue adds an extension to the lane with the key. servers are those of the lane, nil if they are the same for all locks.
func (rs *renewals) queue(key string, r *renewal, servers []*redis.Client) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	l := rs.lanes[key]
	if l == nil {
		if servers == nil {
			servers = rs.nodes.servers(r.ctx, r.a.key)
		}
		l = &lane{key: key, servers: servers}
		rs.lanes[key] = l
	}
	heap.Push(&l.due, r)
	rs.schedule(l)
}

// servers returns the client of the one server that has a key, for each node, as far as it is known.
func (ns *Nodes) servers(ctx context.Context, key string) []*redis.Client {
	servers := make([]*redis.Client, len(ns.nodes))
	for i, n := range ns.nodes {
		servers[i] = n.server(ctx, key)
	}
	return servers
}

// schedule sees to it that a batch starts soon if any renewal is due. It is locked.
func (rs *renewals) schedule(l *lane) {
	switch {
	case len(l.due) == 0:
		if l.batches == 0 && !l.gathering {
			delete(rs.lanes, l.key)
		}
	case !l.gathering && l.batches < l.room():
		l.gathering = true
		time.AfterFunc(rs.gather, func() { rs.gathered(l) })
	}
}

// gathered starts batches of what is due.
func (rs *renewals) gathered(l *lane) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	l.gathering = false
	for room := l.room(); len(l.due) > 0 && l.batches < room; { // found once: no batch has taken its connection yet
		rs.start(l)
	}
}

// start starts a batch. It is locked.
func (rs *renewals) start(l *lane) {
	due := make([]*renewal, min(len(l.due), maxBatch))
	for i := range due {
		due[i] = heap.Pop(&l.due).(*renewal)
	}
	l.batches++
	rs.background.Go(func() {
		rs.nodes.extendAll(due)
		rs.mu.Lock()
		defer rs.mu.Unlock()
		l.batches--
		if len(l.due) >= maxBatch && !l.gathering && l.batches < l.room() {
			rs.start(l)
		}
		rs.schedule(l)
	})
}

// room returns how many batches may be under way: one for each connection that is free at every server, or may be
// opened there, and those that are under way already. One may always be: it waits for a connection like everybody else.
func (l *lane) room() int {
	room := maxBatches
	for _, c := range l.servers {
		if c != nil {
			room = min(room, l.batches+freeConnections(c))
		}
	}
	return max(room, 1)
}

// freeConnections returns how many connections a client can have at once, less those that are in use.
func freeConnections(c *redis.Client) int {
	stats := c.PoolStats()
	return c.Options().PoolSize - int(stats.TotalConns) + int(stats.IdleConns)
}
