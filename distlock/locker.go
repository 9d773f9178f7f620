package distlock

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/keyqueue"
)

var (
	errHeldHere  = errors.New("held by another goroutine of this process")
	errWaitLimit = errors.New("WaitLimit is over")
	errBroken    = errors.New("too few nodes have been in order for a whole TTL")

	errNoCallback = errors.New("distlock: the callback is nil")
)

// Locker acquires locks. It is made by New and is safe for concurrent use. A process needs one for a set of nodes, and
// no more: goroutines that share a Locker wait for each other in the process and pass locks on directly.
type Locker struct {
	config       config
	nodes        []*node
	slotted      bool // a client chooses the server by the key
	mutexOptions []redsync.Option
	process      string // what the other processes call this one
	values       *values

	line    keyqueue.Queue[string] // by name
	waiters waiters
	tasks   *tasks
	close   context.CancelFunc

	mu     sync.Mutex
	passed map[string]passed // by name, from the end of one turn to the beginning of the next
}

// passed is what the end of one turn leaves to the next in the process.
type passed struct {
	hold *hold // the lock itself, or
	woke bool  // the duty to let the process go first that was woken
}

// New returns a Locker for locks that are kept on the given Redis servers: one, or an odd number of independent ones,
// in which case a lock is held while a majority of them has it. Replicas of each other are not independent. A client
// may be a *redis.Client, a *redis.ClusterClient, a *redis.Ring or anything else with that interface; the caller closes
// it, after the Locker.
//
// The hooks of a *redis.Client, such as those of a tracer, see the commands of the locks only if its
// ContextTimeoutEnabled is set, and neither its ReadTimeout nor its WriteTimeout is switched off. Otherwise the commands
// are sent by the client's WithTimeout, which in go-redis has the same connections but no hooks. Other kinds of clients
// keep theirs. A hook of a *redis.Client must heed the context that it gets: NodeTimeout can't interrupt it.
//
// New returns an error if there is no client, a nil one or an even number of them, which would stand no more failures
// than one fewer, if an option is invalid, or if two clients are seen to lead to one server. To see that, it asks each
// server for its run_id, for NodeTimeout at most; a server that does not answer is not an error.
func New(clients []redis.UniversalClient, opts ...Option) (*Locker, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if err := checkClients(clients); err != nil {
		return nil, err
	}
	l := &Locker{config: c, values: newValues(), passed: make(map[string]passed)}
	l.process = l.values.process
	closing, cancel := context.WithCancel(context.Background())
	l.close = cancel
	l.tasks = &tasks{closing: closing}
	for i, client := range clients {
		l.nodes = append(l.nodes, l.newNode(i, client))
		switch client.(type) {
		case *redis.ClusterClient, *redis.Ring:
			l.slotted = true
		}
	}
	l.mutexOptions = []redsync.Option{
		redsync.WithExpiry(c.ttl),
		redsync.WithTries(1),
		redsync.WithTimeoutFactor(1), // the round has its own
		redsync.WithGenValueFunc(func() (string, error) { return l.values.next(), nil }),
	}
	if err := l.checkServers(); err != nil {
		cancel()
		return nil, err
	}
	return l, nil
}

func checkClients(clients []redis.UniversalClient) error {
	if len(clients) == 0 {
		return errors.New("distlock: no Redis client")
	}
	for i, client := range clients {
		if v := reflect.ValueOf(client); !v.IsValid() || (v.Kind() == reflect.Pointer && v.IsNil()) {
			return fmt.Errorf("distlock: client %d is nil", i)
		}
	}
	for i, client := range clients {
		for j := range i {
			if reflect.TypeOf(client).Comparable() && clients[j] == client {
				return fmt.Errorf("distlock: clients %d and %d are the same: nodes must be independent", j, i)
			}
		}
	}
	if len(clients)%2 == 0 {
		return fmt.Errorf("distlock: %d nodes stand no more failures than %d: give an odd number", len(clients), len(clients)-1)
	}
	return nil
}

// checkServers refuses two clients of the same server, as far as the servers say who they are.
func (l *Locker) checkServers() error {
	if len(l.nodes) == 1 {
		return nil
	}
	r := newRound(context.Background(), queueing, len(l.nodes), l.config.nodeTimeout)
	defer r.end()
	ids := make([]string, len(l.nodes))
	var wg sync.WaitGroup
	for i, n := range l.nodes {
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
			return fmt.Errorf("distlock: clients %d (%s) and %d (%s) lead to the same server, run_id %s: nodes must be independent",
				first, l.nodes[first].addr, i, l.nodes[i].addr, id)
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

func (l *Locker) quorum() int { return len(l.nodes)/2 + 1 }

// margin is how long before the end of a lease its holder is told to stop.
func (l *Locker) margin() time.Duration { return max(l.config.ttl/100, 2*time.Millisecond) }

// Close makes every caller that waits for a lock return ErrClosed, and later ones too, ends the subscriptions, and
// waits for clean-up in the background, for NodeTimeout at most. Leases that are held stay held and extended, and can
// be unlocked as before. It always returns nil. The clients stay open.
func (l *Locker) Close() error {
	l.close()
	l.tasks.wait(l.config.nodeTimeout)
	return nil
}

// Lock waits for the lock and returns the lease of it. Callers of one process are served in the order of their calls; a
// process that waits is woken when the lock is released.
//
// It returns ErrNotAcquired if ctx ends (then wrapped together with ctx's error), if WaitLimit is over, or if for a
// whole TTL no majority of the nodes was in order; the *Error says what each node answered. Nothing is left behind
// then: on nodes that hang, clean-up goes on in the background.
//
// A lock can't be acquired twice: a goroutine that holds it and calls Lock waits for itself. Names are any text but the
// empty one. On a Redis Cluster or a Ring, a name with a closing brace needs a hash tag, the first pair of braces with
// text in between from the first opening brace on: {shop}:orders, and not {}x or a}. Others get an error.
func (l *Locker) Lock(ctx context.Context, name string) (*Lease, error) {
	return l.lock(ctx, name, context.WithoutCancel(ctx))
}

// TryLock acquires the lock if it is free, and returns ErrNotAcquired otherwise. It takes no longer than NodeTimeout,
// or twice that when the attempt has to be cleaned up.
func (l *Locker) TryLock(ctx context.Context, name string) (*Lease, error) {
	if err := l.check(ctx, name); err != nil {
		return nil, err
	}
	start := time.Now()
	turn, ok := l.line.Try(name)
	if !ok {
		return nil, l.notAcquired(name, nil, errHeldHere)
	}
	l.discard(l.takePassed(name))
	h, failure := l.attempt(ctx, name)
	if failure != nil {
		turn.Done()
		return nil, l.notAcquired(name, failure, ctx.Err())
	}
	return l.begin(ctx, l.newLease(name, turn, context.WithoutCancel(ctx), start), h)
}

// WithLock waits for the lock like Lock, calls fn and unlocks. The context that fn gets is that of the lease, and ends
// with ctx too. It returns what fn and Unlock return, joined: so it returns ErrLost if the lease was lost while fn ran,
// even if fn did not notice. If fn panics, the lock is released and the panic goes on.
func (l *Locker) WithLock(ctx context.Context, name string, fn func(ctx context.Context, lease *Lease) error) (err error) {
	if fn == nil {
		return errNoCallback
	}
	lease, err := l.lock(ctx, name, ctx)
	if err != nil {
		return err
	}
	defer func() { err = join(err, lease.Unlock(ctx)) }()
	return fn(lease.Context(), lease)
}

// WithLocks is WithLock for several locks. They are acquired in the order of their names, so that callers with common
// names don't wait for each other in a circle; the leases are in the order of names. A name given twice is locked once.
// The context that fn gets ends as soon as any of the leases is lost.
func (l *Locker) WithLocks(ctx context.Context, names []string, fn func(ctx context.Context, leases []*Lease) error) (err error) {
	if fn == nil {
		return errNoCallback
	}
	if len(names) == 0 {
		return errors.New("distlock: WithLocks without a name")
	}
	held := make(map[string]*Lease, len(names))
	all := ctx
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		lease, failed := l.lock(all, name, all)
		if failed != nil {
			if ctx.Err() == nil && all.Err() != nil { // one of the others was lost meanwhile
				failed = join(failed, context.Cause(all))
			}
			return failed
		}
		defer func() { err = join(err, lease.Unlock(ctx)) }()
		held[name] = lease
		all = lease.Context()
	}
	leases := make([]*Lease, len(names))
	for i, name := range names {
		leases[i] = held[name]
	}
	return fn(all, leases)
}
