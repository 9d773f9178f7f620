package quorum

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
)

// Nodes are the independent Redis servers that keep the locks. They are made by New and safe for concurrent use.
type Nodes struct {
	nodes   []*Node
	slotted bool // a client chooses the server by the key
	ttl     time.Duration
	timeout time.Duration
	process string
	count   atomic.Uint64 // of the attempts

	renewals *renewals
	outage   *outage
}

// Config says how the nodes are used.
type Config struct {
	TTL     time.Duration // how long a lock outlives its holder
	Timeout time.Duration // how long a node may take to answer
	Process string        // the name of this process, which no other has
}

// New returns the Nodes behind the clients. It refuses a number of clients that makes no sense, nil ones, and two that
// are seen to lead to one server: to see that, it asks each server for its run_id.
func New(clients []redis.UniversalClient, c Config, bg *background.Group) (*Nodes, error) {
	if err := checkClients(clients); err != nil {
		return nil, err
	}
	ns := &Nodes{ttl: c.TTL, timeout: c.Timeout, process: c.Process}
	ns.renewals, ns.outage = newRenewals(ns, bg), newOutage(c.TTL, bg.Closing())
	for i, client := range clients {
		ns.nodes = append(ns.nodes, newNode(i, client, c.Timeout, bg))
		switch client.(type) {
		case *redis.ClusterClient, *redis.Ring:
			ns.slotted = true
		}
	}
	return ns, ns.checkServers()
}

func checkClients(clients []redis.UniversalClient) error {
	if len(clients) == 0 {
		return errors.New("no Redis client")
	}
	for i, client := range clients {
		if v := reflect.ValueOf(client); !v.IsValid() || (v.Kind() == reflect.Pointer && v.IsNil()) {
			return fmt.Errorf("client %d is nil", i)
		}
	}
	for i, client := range clients {
		for j := range i {
			if reflect.TypeOf(client).Comparable() && clients[j] == client {
				return fmt.Errorf("clients %d and %d are the same: nodes must be independent", j, i)
			}
		}
	}
	if len(clients)%2 == 0 {
		return fmt.Errorf("%d nodes stand no more failures than %d: give an odd number", len(clients), len(clients)-1)
	}
	return nil
}

// checkServers refuses two clients of the same server, as far as the servers say who they are.
func (ns *Nodes) checkServers() error {
	if len(ns.nodes) == 1 {
		return nil
	}
	r := newRound(context.Background(), len(ns.nodes), ns.timeout)
	defer r.end()
	ids := make([]string, len(ns.nodes))
	var wg sync.WaitGroup
	for i, n := range ns.nodes {
		wg.Go(func() {
			ids[i], _ = ask(r, n, func(ctx context.Context) (string, error) {
				info, err := n.client.Info(ctx, "server").Result()
				return runID(info), err
			})
		})
	}
	wg.Wait()
	for i, id := range ids {
		if first := slices.Index(ids, id); id != "" && first != i {
			return fmt.Errorf("clients %d (%s) and %d (%s) lead to the same server, run_id %s: nodes must be independent",
				first, ns.nodes[first].addr, i, ns.nodes[i].addr, id)
		}
	}
	return nil
}

// runID returns the random name that a Redis server has had since it started, from its answer to INFO.
func runID(info string) string {
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

// All returns the nodes in the order of their clients. It must not be changed.
func (ns *Nodes) All() []*Node { return ns.nodes }

// Slotted reports whether the keys of a lock have to be in one slot, because a client chooses the server by the key.
// SameSlot tells whether they are.
func (ns *Nodes) Slotted() bool { return ns.slotted }

// Acquire tries once to set the key on a majority of the nodes, and returns as well when ctx ends. until is how long
// the lock is held at least. If it fails, failed tells why, and what was set is deleted again, on nodes that hang in the
// background.
func (ns *Nodes) Acquire(ctx context.Context, key string) (a *Acquisition, until time.Time, failed *Tally) {
	a = &Acquisition{nodes: ns, key: key, value: ns.nextValue(), grants: make([]grant, len(ns.nodes))}
	for i, n := range ns.nodes {
		a.grants[i].node = n
	}
	until, failed = a.acquire(ctx)
	if ns.outage.note(failed); failed != nil {
		return nil, time.Time{}, failed
	}
	return a, until, nil
}

// Examine returns why the nodes don't grant a key which is none that a holder sets: it is of another type, or has no TTL.
// Nodes of which it finds out neither are not among the failed ones.
func (ns *Nodes) Examine(ctx context.Context, key string) *Tally {
	r := newRound(ctx, len(ns.nodes), ns.timeout)
	defer r.end()
	r.interruptedBy(ctx)
	var wg sync.WaitGroup
	for _, n := range ns.nodes {
		wg.Go(func() {
			reason, err := ask(r, n, func(ctx context.Context) (error, error) { return n.examine(ctx, key) })
			if err == nil {
				r.vote(n, reason)
			}
		})
	}
	wg.Wait()
	return r.tally()
}

// nextValue returns a value that tells one attempt's key from every other's: the random name of this process and a
// count.
func (ns *Nodes) nextValue() string {
	value := append(make([]byte, 0, 64), ns.process...)
	return string(strconv.AppendUint(append(value, '-'), ns.count.Add(1), 36))
}
