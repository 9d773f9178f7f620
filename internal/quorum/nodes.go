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
	keys    Keys
	ttl     time.Duration
	timeout time.Duration
	process string
	label   string
	count   atomic.Uint64 // of the attempts

	renewals *renewals
	outage   *outage
}

// Config says how the nodes are used.
type Config struct {
	Keys    Keys
	TTL     time.Duration // how long a lock outlives its holder
	Timeout time.Duration // how long a node may take to answer
	Process string        // the name of this process, which no other has
	Label   string        // what the values of its locks say of it, for people
}

// New returns the Nodes behind the clients. It refuses a number of clients that makes no sense, nil ones, and one that
// is given twice. It asks no server.
func New(clients []redis.UniversalClient, c Config, bg *background.Group) (*Nodes, error) {
	if err := checkClients(clients); err != nil {
		return nil, err
	}
	ns := &Nodes{keys: c.Keys, ttl: c.TTL, timeout: c.Timeout, process: c.Process, label: c.Label}
	ns.renewals, ns.outage = newRenewals(ns, bg), newOutage(c.TTL, bg.Closing())
	known := new(identities)
	for i, client := range clients {
		n := newNode(i, client, c, bg)
		n.looking.known = known
		ns.nodes = append(ns.nodes, n)
	}
	return ns, nil
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

// All returns the nodes in the order of their clients. It must not be changed.
func (ns *Nodes) All() []*Node { return ns.nodes }

// Suits reports whether a lock may have the name. Where a client chooses the server by the key, all keys of the lock must
// be in one slot.
func (ns *Nodes) Suits(name string) bool {
	return !ns.slotted() || ns.keys.SameSlot(ns.keys.Lock(name))
}

// slotted reports whether a client chooses the server by the key.
func (ns *Nodes) slotted() bool {
	return slices.ContainsFunc(ns.nodes, func(n *Node) bool { return n.slotted })
}

// Acquire tries once to set the lock's key on a majority of the nodes, and returns as well when ctx ends. until is how long
// the lock is held at least. If it fails, failed tells why, and what was set is deleted again, on nodes that hang in the
// background.
func (ns *Nodes) Acquire(ctx context.Context, name string) (a *Acquisition, until time.Time, failed *Tally) {
	a = &Acquisition{nodes: ns, key: ns.keys.Lock(name), value: ns.nextValue(), grants: make([]grant, len(ns.nodes))}
	for i, n := range ns.nodes {
		a.grants[i].node = n
	}
	until, failed = a.acquire(ctx)
	if ns.outage.note(failed); failed != nil {
		return nil, time.Time{}, failed
	}
	return a, until, nil
}

// Examine returns why the nodes don't grant a lock whose key is none that a holder sets: it is of another type, or has no TTL.
// Nodes of which it finds out neither are not among the failed ones.
func (ns *Nodes) Examine(ctx context.Context, name string) *Tally {
	key := ns.keys.Lock(name)
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

// nextValue returns a value that tells one attempt's key from every other's: the random name of this process, a count,
// and the label if there is one.
func (ns *Nodes) nextValue() string {
	value := append(make([]byte, 0, 64), ns.process...)
	value = strconv.AppendUint(append(value, '-'), ns.count.Add(1), 36)
	if ns.label != "" {
		value = append(append(value, ' '), ns.label...)
	}
	return string(value)
}

// labelOf returns the label in a value that nextValue has made.
func labelOf(value string) string {
	_, label, _ := strings.Cut(value, " ")
	return label
}
