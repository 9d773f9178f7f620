package distlock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
)

// errUnconfirmed is the reason of an Unlock that too few nodes have answered.
var errUnconfirmed = errors.New("distlock: release not confirmed, the lock ends with its TTL at the latest")

// hold is a lock that this process has in Redis. It serves one lease after the other while the goroutines of the
// process pass the lock on. Its watchdog extends it until it is given back.
type hold struct {
	locker *Locker
	name   string
	mutex  mutex
	claims []claim
	taken  time.Time

	renewing sync.Mutex // a mutex takes one Extend at a time

	mu    sync.Mutex
	state holdState
	until time.Time
	lease *Lease // nil while the lock is passed on
	timer *time.Timer
	news  []Event // to be told once the hold is unlocked: who hears of it may ask the lease
}

type holdState int

const (
	live holdState = iota
	lost
	given
)

// attempt tries once to take the lock. What it could not get it cleans up, on nodes that hang in the background.
func (l *Locker) attempt(ctx context.Context, name string) (*hold, *Error) {
	h := &hold{locker: l, name: name, claims: make([]claim, len(l.nodes))}
	for i, n := range l.nodes {
		h.claims[i].node = n
	}
	h.mutex = l.newMutex(l.config.prefix+name, h.claims)

	r := newRound(ctx, taking, len(l.nodes), l.config.nodeTimeout)
	r.until(ctx)
	err := h.mutex.TryLockContext(r.context())
	r.end()
	if err != nil {
		failure := r.error("lock", name, ErrNotAcquired, nil)
		if len(failure.Nodes) < l.quorum() {
			failure.Cause = errors.New("granted too late to be of use")
		}
		return nil, failure
	}
	h.taken = time.Now()
	h.until = h.mutex.Until()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(l.config.ttl/3, h.watch)
	return h, nil
}

func (h *hold) lock() { h.mu.Lock() }

func (h *hold) unlock() {
	news := h.news
	h.news = nil
	h.mu.Unlock()
	for _, e := range news {
		h.locker.config.onEvent(e)
	}
}

// newMutex returns the mutex of the claims: redsync's where there is a quorum to find.
func (l *Locker) newMutex(key string, claims []claim) mutex {
	if len(claims) == 1 {
		return &single{claim: &claims[0], key: key, value: l.values.next(), ttl: l.config.ttl}
	}
	pools := make([]redis.Pool, len(claims))
	for i := range claims {
		pools[i] = &claims[i]
	}
	return redsync.New(pools...).NewMutex(key, l.mutexOptions...)
}

// watch is the watchdog. Its timer stands for whatever comes first: the next renewal, or the time at which the lease
// can't be trusted any more. It runs on the monotonic clock, and fires at once when a stopped process goes on too late.
func (h *hold) watch() {
	h.lock()
	left := h.left(time.Now())
	if h.state != live || left <= 0 {
		h.lose(nil)
		h.unlock()
		return
	}
	h.timer.Reset(left) // the renewal may hang
	h.unlock()

	err := h.renew(context.Background())

	h.lock()
	defer h.unlock()
	if h.state != live {
		return
	}
	next := h.locker.config.ttl / 3
	if err != nil {
		next = h.locker.config.ttl / 10
	}
	h.timer.Reset(max(0, min(next, h.left(time.Now()))))
}

// left returns how long the hold can be trusted: a little less than redsync says, so that the holder hears of the loss
// before the lock may be somebody else's. The hold is locked.
func (h *hold) left(now time.Time) time.Duration {
	return h.until.Sub(now) - h.locker.margin()
}

// renew extends the lock and so asks, too, whether it is still ours. It returns ErrLost, wrapped, if it is not, and
// another error if too few nodes have answered.
func (h *hold) renew(ctx context.Context) error {
	h.renewing.Lock()
	defer h.renewing.Unlock()
	h.lock()
	state := h.state
	h.unlock()
	if state != live {
		return &Error{Op: "extend", Name: h.name, Err: ErrLost, Total: len(h.claims)}
	}

	start := time.Now()
	r := newRound(ctx, extending, len(h.claims), h.locker.config.nodeTimeout)
	ok, _ := h.mutex.ExtendContext(r.context()) // the round knows more than the error
	r.end()

	h.lock()
	defer h.unlock()
	var err error
	if h.state == live && ok {
		h.until = h.mutex.Until()
	} else {
		failure := r.error("extend", h.name, errors.New("too few nodes have answered"), nil)
		if h.state != live || failure.held() > len(h.claims)-h.locker.quorum() {
			failure.Err = ErrLost
			h.lose(failure)
		}
		err = failure
	}
	h.news = append(h.news, Event{Kind: Extended, Name: h.name, Duration: time.Since(start), Err: err})
	return err
}

// lose tells the holder that the lock is lost. The hold is locked.
func (h *hold) lose(why error) {
	if h.state != live {
		return
	}
	h.state = lost
	h.timer.Stop()
	if h.lease != nil {
		h.lease.cancel(ErrLost)
	}
	if why == nil {
		why = &Error{Op: "extend", Name: h.name, Err: ErrLost, Cause: errors.New("it was not extended in time"), Total: len(h.claims)}
	}
	h.news = append(h.news, Event{Kind: Lost, Name: h.name, Duration: time.Since(h.taken), Err: why})
}

// serve makes the hold the lease's. It reports false if the hold is of no use any more.
func (h *hold) serve(lease *Lease, now time.Time) bool {
	h.lock()
	defer h.unlock()
	if h.state == live && h.left(now) <= 0 {
		h.lose(nil)
	}
	if h.state != live {
		return false
	}
	lease.start(h)
	return true
}

// leave takes the hold from its lease. It reports whether another lease may have it.
func (h *hold) leave(now time.Time) bool {
	h.lock()
	defer h.unlock()
	h.lease = nil
	return h.state == live && h.left(now) > 0 && now.Sub(h.taken) < h.locker.config.handOver
}

// give gives the lock back. It reports whether another process was woken. The watchdog has stopped for good when it
// starts, and a renewal that is still on its way finds no key with our value.
func (h *hold) give(ctx context.Context) (woke bool, err error) {
	h.lock()
	if h.state == live && h.left(time.Now()) <= 0 {
		h.lose(nil)
	}
	wasLost := h.state == lost
	h.state = given
	h.timer.Stop()
	h.unlock()

	r := newRound(ctx, giving, len(h.claims), h.locker.config.nodeTimeout)
	ok, _ := h.mutex.UnlockContext(r.context())
	r.end()
	if wasLost || !ok {
		failure := r.error("unlock", h.name, errUnconfirmed, nil)
		if wasLost || failure.held() > len(h.claims)-h.locker.quorum() {
			failure.Err = ErrLost
		}
		err = failure
	}
	return r.woke.Load(), err
}
