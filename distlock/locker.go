package distlock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/quorum"
	"github.com/nogap-go/nogap/internal/waitqueue"
)

var errNoCallback = errors.New("distlock: the callback is nil")

// Locker acquires locks. It is made by New and is safe for concurrent use. A process needs one Locker for a set of
// nodes: goroutines that share a Locker wait for each other in the process, and pass locks on without Redis.
type Locker struct {
	config     *config
	nodes      *quorum.Nodes
	waiters    *waitqueue.Waiters
	handovers  *handovers
	background *background.Group
}

// New returns a Locker for locks that are kept on the given Redis servers: one, or an odd number of independent ones.
// With several, a lock is held while a majority of them has it. Replicas of each other are not independent. A client
// may be a *redis.Client, a *redis.ClusterClient, a *redis.Ring or anything else with that interface. The caller
// closes the clients, after the Locker.
//
// The hooks of a *redis.Client, such as those of a tracer, see the commands of the locks only if its
// ContextTimeoutEnabled is set, and neither its ReadTimeout nor its WriteTimeout is switched off. Otherwise the
// commands are sent by the client's WithTimeout, which in go-redis has the same connections but no hooks. Other kinds
// of clients keep their hooks. A hook of a *redis.Client must heed the context that it gets: NodeTimeout can't
// interrupt it.
//
// New asks no server. It returns an error if there is no client, if one is nil or given twice, if their number is
// even (one client fewer would survive as many failures), or if an option is invalid or given twice.
//
// Before the first lock on a node, the Locker looks once whether the node can keep locks. A node grants no lock if it
// is a replica, if it leads to the same server as another node, or if it refuses to the user what locks need (see
// "Rights" in the package documentation). The *Error of a lock that was not acquired says so. Such a node is looked
// at again after a second. What a server does not tell for lack of rights, such as its role, is taken as fine.
func New(clients []redis.UniversalClient, opts ...Option) (*Locker, error) {
	c, err := newConfig(len(clients), opts)
	if err != nil {
		return nil, err
	}
	process, bg := rand.Text(), background.New()
	keys := quorum.Keys{Prefix: c.prefix}
	nodes, err := quorum.New(clients, quorum.Config{
		Keys: keys, TTL: c.ttl, Timeout: c.nodeTimeout, Process: process, Label: c.label,
	}, bg)
	if err != nil {
		bg.Close()
		return nil, fmt.Errorf("distlock: %w", err)
	}
	waiters := waitqueue.New(nodes.All(), waitqueue.Config{
		Process: process, Keys: keys, Backoff: c.backoff, Failed: c.notQueued, Hopeless: nodes.Hopeless,
	}, bg)
	return &Locker{
		config: c, nodes: nodes, waiters: waiters, background: bg,
		handovers: &handovers{waiters: waiters, background: bg, byName: make(map[string]handover)},
	}, nil
}

// Close ends the Locker. Every caller that waits for a lock gets ErrClosed, and so do later callers. Close ends the
// subscriptions, and waits for clean-up in the background, for NodeTimeout at most. Leases that are held stay held
// and extended, and can be unlocked as before. Close always returns nil. The clients stay open.
func (l *Locker) Close() error {
	l.background.Close()
	l.background.Wait(l.config.nodeTimeout)
	return nil
}

// Lock waits for the lock and returns its lease. Callers of one process are served in the order of their calls. A
// process that waits is woken when the lock is released.
//
// The end of ctx ends the wait, and nothing else. Once Lock has returned a lease, the lock is held and extended until
// Unlock or until it is lost, also after ctx has ended. Work with [Lease.Context]: it has the values of ctx, but does not
// end with it.
//
// ErrNotAcquired is returned, inside an *Error that says what each node answered, in these cases:
//
//   - ctx has ended, and ctx's error is wrapped too.
//   - WaitLimit is over.
//   - For a whole TTL no majority of the nodes worked. That holds for the whole Locker: all callers who wait return
//     together, whatever name they wait for, and a caller who comes then returns after its first attempt.
//   - So many nodes fail for a reason that no waiting removes (NOAUTH, WRONGPASS, NOPERM, WRONGTYPE) that the others are
//     no majority. Then Lock returns at once.
//   - ctx comes from a lease of the same name and Locker that has not been unlocked. Then Lock returns at once, since it
//     would wait for itself. (A goroutine that holds a lock and calls Lock with another context does wait for itself.)
//   - The Locker is closed. Then ErrClosed is wrapped too.
//
// Nothing is left in Redis then. On nodes that hang, clean-up goes on in the background.
//
// A name is any text but the empty one. On a Redis Cluster or a Ring, a name with a closing brace needs a hash tag,
// which is the first pair of braces with text in between, counted from the first opening brace: {shop}:orders has
// one, {}x and a} have none. A name without one gets an error. So does every name if the Prefix opens a brace and
// does not close it.
func (l *Locker) Lock(ctx context.Context, name string) (lease *Lease, err error) {
	caller := ctx
	err = l.config.observed(ctx, "distlock.Lock", func(ctx context.Context, ob *observation) (err error) {
		r := request{locker: l, name: name, parent: caller, detached: true, observation: ob}
		lease, err = r.lock(ctx)
		return err
	})
	return lease, err
}

// TryLock acquires the lock if it is free, and returns ErrNotAcquired otherwise. A lock that this process has just
// released while another process waited for it is not free for 25 ms, so that the other process can get it. TryLock
// takes no longer than NodeTimeout, or twice that when the attempt has to be cleaned up. When ctx ends meanwhile, it
// returns ErrNotAcquired wrapped together with ctx's error. The end of ctx does not end a lease that TryLock has
// returned: see [Locker.Lock], also for names and for the other reasons of ErrNotAcquired.
func (l *Locker) TryLock(ctx context.Context, name string) (lease *Lease, err error) {
	caller := ctx
	err = l.config.observed(ctx, "distlock.TryLock", func(ctx context.Context, ob *observation) (err error) {
		r := request{locker: l, name: name, parent: caller, detached: true, observation: ob}
		lease, err = r.try(ctx)
		return err
	})
	return lease, err
}

// WithLock waits for the lock as [Locker.Lock] does, calls fn and unlocks. The context that fn gets is that of the
// lease. If ctx ends while WithLock waits, fn is not called, and the error is that of Lock. If ctx ends later, so
// does fn's context; WithLock waits until fn returns, and unlocks.
//
// WithLock returns the errors of fn and of Unlock, joined. So ErrLost is returned if the lease was lost while fn ran,
// even if fn did not notice. If the lock was not acquired, the error is that of Lock, ErrNotAcquired for example, and
// fn was not called. If fn panics, the lock is released and the panic goes on.
func (l *Locker) WithLock(ctx context.Context, name string, fn func(ctx context.Context, lease *Lease) error) error {
	return l.config.observed(ctx, "distlock.WithLock", func(ctx context.Context, ob *observation) (err error) {
		if fn == nil {
			return errNoCallback
		}
		r := request{locker: l, name: name, parent: ctx, observation: ob}
		lease, err := r.lock(ctx)
		if err != nil {
			return err
		}
		defer func() { err = join(err, lease.unlock(ctx, nil)) }()
		err = fn(lease.ctx, lease)
		ob.callbackReturned(err)
		return err
	})
}

// WithLocks is [Locker.WithLock] for several locks, with the same errors and the same end of ctx. It acquires them in
// the order of their names, so that callers with common names don't wait for each other in a circle. The leases are
// in the order of names. A name given twice is locked once. No name is an error. The context that fn gets ends as
// soon as any of the leases is lost.
func (l *Locker) WithLocks(ctx context.Context, names []string, fn func(ctx context.Context, leases []*Lease) error) error {
	return l.config.observed(ctx, "distlock.WithLocks", func(ctx context.Context, ob *observation) error {
		if fn == nil {
			return errNoCallback
		}
		if len(names) == 0 {
			return errors.New("distlock: WithLocks without a name")
		}
		return l.withLocks(ctx, names, fn, ob)
	})
}

func (l *Locker) withLocks(ctx context.Context, names []string, fn func(context.Context, []*Lease) error, ob *observation) (err error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	requests := make([]request, len(sorted))
	for i, name := range sorted { // all of them before the first wait
		requests[i] = request{locker: l, name: name, observation: ob}
		if err := requests[i].check(ctx); err != nil {
			return err
		}
	}
	held := make(map[string]*Lease, len(names))
	all := ctx
	for i := range requests {
		requests[i].parent = all
		lease, failed := requests[i].lock(all)
		if failed != nil {
			if ctx.Err() == nil && all.Err() != nil { // one of the others was lost meanwhile
				failed = join(failed, context.Cause(all))
			}
			return failed
		}
		defer func() { err = join(err, lease.unlock(ctx, nil)) }()
		held[lease.Name()] = lease
		all = lease.ctx
	}
	leases := make([]*Lease, len(names))
	for i, name := range names {
		leases[i] = held[name]
	}
	err = fn(all, leases)
	ob.callbackReturned(err)
	return err
}

// join joins two errors, of which either may be nil, and leaves a single one as it is.
func join(first, second error) error {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return errors.Join(first, second)
}
