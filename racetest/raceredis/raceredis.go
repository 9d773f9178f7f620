// Package raceredis makes the commands of go-redis clients steps of a racetest scenario.
//
//	racetest.Explore(t, racetest.Scenario{
//		Open:      racetest.Open("pgx", dsn),
//		Resources: []racetest.Resource{raceredis.Clients(rdb)},
//		Clients:   …,
//	})
//
// So it shows the bug of a lock of SET NX and DEL that the wrong client deletes, or of a counter of GET and SET.
//
// # What is a step
//
// A command whose context is that of a Client's Run, or one made from it, is a step of that client. A pipeline is one
// step. A command with any other context runs at once, and the report notes how many did. So do commands that name no
// key and no data, such as PING, PUBLISH and SCRIPT LOAD. A script that names no key is a step that may do anything. A
// key that it uses is compared if another command names it.
//
// A blocking command (BLPOP, XREAD BLOCK) counts as blocked until there is something for it. If no client is left
// that could send it anything, it ends as if its time had run out. It is an error then if it has no limit of time.
//
// # What is compared
//
// The keys that any command of these clients has named, while the scenario is explored, are part of the end of a
// schedule: their values, and whether they expire. They are deleted before each Setup, and when they are first named.
// So use a Redis, or a number of a database, that is only for tests, and have Setup make what the clients need.
//
// If a key may have expired during a schedule, the schedule is inconclusive, because racetest does not control time.
package raceredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/racetest"
)

// Clients returns go-redis clients as a resource of a Scenario. For independent servers, such as those of a Redlock,
// it takes one client each. It adds a hook to each client, which does nothing while the Scenario is not explored. A
// client is a *redis.Client, a *redis.ClusterClient or a *redis.Ring.
func Clients(clients ...redis.UniversalClient) racetest.Resource {
	r := &resource{}
	for i, c := range clients {
		name := "redis"
		if len(clients) > 1 {
			name = fmt.Sprintf("redis%d", i+1)
		}
		n := &node{resource: r, name: name, client: c, keys: map[string]*key{}}
		r.nodes = append(r.nodes, n)
		c.AddHook(n)
	}
	return r
}

// resource is some clients while a scenario is explored.
type resource struct {
	nodes []*node

	mu      sync.Mutex
	open    bool
	started bool   // a schedule is played
	doubt   string // why it says nothing
	strange int    // commands of nobody's
}

// node is one client.
type node struct {
	resource *resource
	name     string
	client   redis.UniversalClient

	mu   sync.Mutex
	keys map[string]*key // that were named
	info map[string]*redis.CommandInfo
}

// key is what is known of a key.
type key struct {
	watched bool
	// expires is when the key may expire at the earliest; zero is never.
	expires time.Time
}

// Reset implements racetest.Resource.
func (r *resource) Reset(ctx context.Context) error {
	r.mu.Lock()
	r.open, r.started = true, false
	r.mu.Unlock()
	var errs []error
	for _, n := range r.nodes {
		for _, name := range n.named() {
			errs = append(errs, n.forget(ctx, name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("raceredis: deleting what was touched: %w", err)
	}
	return nil
}

// Start implements racetest.Resource.
func (r *resource) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started, r.doubt = true, ""
}

// State implements racetest.Resource.
func (r *resource) State(ctx context.Context) (tables []oracle.Table, doubt string, err error) {
	for _, n := range r.nodes {
		t, err := n.table(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("raceredis: %s: %w", n.name, err)
		}
		n.lookExpired(n.named())
		tables = append(tables, t)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = false
	return tables, r.doubt, nil
}

// Note implements racetest.Resource.
func (r *resource) Note() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.strange == 0 {
		return ""
	}
	return fmt.Sprintf("%d Redis commands had a context that is no Client's, and ran at once", r.strange)
}

// Close implements racetest.Resource.
func (r *resource) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open, r.started = false, false
}

func (r *resource) isOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// note counts a command that is nobody's step, unless it is one of Setup.
func (r *resource) note() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started {
		r.strange++
	}
}

func (r *resource) doubts(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.doubt == "" {
		r.doubt = why
	}
}

// named returns the keys that were named, in their order.
func (n *node) named() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for name := range n.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// forget deletes a key.
func (n *node) forget(ctx context.Context, name string) error {
	if err := n.client.Del(ours(ctx), name).Err(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys[name] = &key{}
	return nil
}

// meet makes sure that keys which nobody has named before are not there from before the exploration.
func (n *node) meet(ctx context.Context, names []string) error {
	for _, name := range names {
		n.mu.Lock()
		known := n.keys[name] != nil
		n.mu.Unlock()
		if known {
			continue
		}
		if err := n.forget(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// lookExpired doubts the schedule if one of the keys may have expired.
func (n *node) lookExpired(names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for _, name := range names {
		if k := n.keys[name]; k != nil && !k.expires.IsZero() && now.After(k.expires) {
			k.expires = time.Time{}
			n.resource.doubts(fmt.Sprintf("the key %q of %s may have expired during the schedule: give it more time, or none in the test", name, n.name))
		}
	}
}

// learnExpiry asks when keys expire that were just written.
func (n *node) learnExpiry(ctx context.Context, names []string) {
	for _, name := range names {
		asked := time.Now()
		left, err := n.client.PTTL(ours(ctx), name).Result()
		n.mu.Lock()
		if k := n.keys[name]; k != nil {
			k.expires = time.Time{}
			if err == nil && left > 0 {
				k.expires = asked.Add(left)
			}
		}
		n.mu.Unlock()
	}
}

type oursKey struct{}

// ours returns a context whose commands are no steps, and not noted.
func ours(ctx context.Context) context.Context {
	return context.WithValue(context.WithoutCancel(ctx), oursKey{}, true)
}

func isOurs(ctx context.Context) bool { return ctx.Value(oursKey{}) != nil }
