package quorum

import (
	"container/heap"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
)

const (
	// maxBatch is how many renewals are sent at once. A larger batch might not be answered within the node's time by a
	// server that is slow or far away.
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

	mu       sync.Mutex
	unrouted []*renewal       // their servers are not known yet
	routing  bool             // a timer runs that starts to look for them
	lanes    map[string]*lane // by the servers that a renewal goes to; one unless clients choose the server by the key
}

// lane has the renewals that go to the same servers. A server that hangs behind a Cluster or a Ring holds up no renewal
// of the others.
type lane struct {
	servers   []*redis.Client // by node, as far as they are known
	due       dueRenewals
	gathering bool // a timer runs that starts the next batch
	batches   int  // under way
	underWay  underWay
}

// renewal is one extension that is due.
type renewal struct {
	a    *Acquisition
	ctx  context.Context
	ends time.Time // when the lock would end without it
	done func(until time.Time, failed *Tally) (then func())
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

// add has an extension made soon. It asks no server anything: the caller is a timer that other leases may wait for.
func (rs *renewals) add(r *renewal) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !rs.nodes.slotted() { // all go to the same servers
		rs.enqueue("", rs.nodes.onlyServers, r)
		return
	}
	rs.unrouted = append(rs.unrouted, r)
	if !rs.routing {
		rs.routing = true
		time.AfterFunc(rs.gather, rs.route)
	}
}

// route puts what has fallen due into lanes. A Cluster may have to be asked which server has a key.
func (rs *renewals) route() {
	rs.mu.Lock()
	due := rs.unrouted
	rs.unrouted, rs.routing = nil, false
	rs.mu.Unlock()
	keys := make([]string, len(due))
	for i, r := range due {
		keys[i] = r.a.key
	}
	rs.background.Go(func() {
		byKey := rs.nodes.serversOf(keys)
		rs.mu.Lock()
		defer rs.mu.Unlock()
		for i, r := range due {
			rs.enqueue(fmt.Sprint(byKey[i]), func() []*redis.Client { return byKey[i] }, r)
		}
	})
}

// enqueue puts a renewal into a lane. It is locked.
func (rs *renewals) enqueue(key string, servers func() []*redis.Client, r *renewal) {
	l := rs.lanes[key]
	if l == nil {
		l = &lane{servers: servers(), underWay: make(underWay, len(rs.nodes.nodes))}
		rs.lanes[key] = l
	}
	heap.Push(&l.due, r)
	rs.schedule(l)
}

// schedule sees to it that a batch starts soon if any renewal is due. It is locked.
func (rs *renewals) schedule(l *lane) {
	switch {
	case len(l.due) == 0:
		maps.DeleteFunc(rs.lanes, func(_ string, l *lane) bool { return l.idle() })
	case !l.gathering && l.batches < l.room():
		l.gathering = true
		time.AfterFunc(rs.gather, func() { rs.gathered(l) })
	}
}

// idle reports whether nothing is due in the lane or under way.
func (l *lane) idle() bool {
	return len(l.due) == 0 && !l.gathering && l.batches == 0 && !l.underWay.any()
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
		rs.nodes.extendAll(l.underWay, due)
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
