package distlock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/perdb"
)

// Option changes how a Locker works. See New. An option that is given twice is an error, except WithObserver and
// OnEvent.
type Option interface {
	option() option.Option[config]
}

type lockerOption option.Option[config]

func (o lockerOption) option() option.Option[config] { return option.Option[config](o) }

type config struct {
	ttl         time.Duration
	nodeTimeout time.Duration
	waitLimit   time.Duration
	handOver    time.Duration
	prefix      string
	label       string
	maxHold     time.Duration // 0 if there is none
	backoff     backoff.Policy
	onEvent     []func(context.Context, Event)
	observers   perdb.List

	nodes int // how many there are
}

const (
	defaultTTL         = 8 * time.Second
	minTTL             = 10 * time.Millisecond
	defaultNodeTimeout = 250 * time.Millisecond
	defaultHandOver    = 50 * time.Millisecond
	defaultPrefix      = "lock:"
	maxLabel           = 256
)

// defaultBackoff spreads the processes that meet again after a vote was split, or while nodes are down.
var defaultBackoff = backoff.FullJitter(10*time.Millisecond, 500*time.Millisecond)

func newConfig(nodes int, opts []Option) (*config, error) {
	c := &config{
		ttl:      defaultTTL,
		handOver: defaultHandOver,
		prefix:   defaultPrefix,
		backoff:  defaultBackoff,
		nodes:    nodes,
	}
	if _, err := option.Apply(c, opts, Option.option); err != nil {
		return nil, fmt.Errorf("distlock: %w", err)
	}
	if c.nodeTimeout == 0 {
		c.nodeTimeout = min(defaultNodeTimeout, c.ttl/4)
	}
	// The first extension starts at a third of the TTL. One that hangs must leave time for another.
	if c.nodeTimeout > c.ttl/4 {
		return nil, fmt.Errorf("distlock: NodeTimeout(%v) is more than a quarter of the TTL, %v", c.nodeTimeout, c.ttl)
	}
	return c, nil
}

// margin is how long before the end of a lease its holder is told to stop.
func (c *config) margin() time.Duration { return max(c.ttl/100, 2*time.Millisecond) }

// granted is how long a lock is held from the time at which the nodes were asked: the TTL, less an allowance for clocks.
func (c *config) granted() time.Duration { return c.ttl - c.ttl/100 }

// renewalPause returns how long after one extension the next one is due. It is at random, so that what was acquired
// together is not extended together for ever.
func (c *config) renewalPause() time.Duration { return c.ttl/3 - rand.N(c.ttl/12) }

// retryPause returns how long after an extension that has failed the next one is due.
func (c *config) retryPause() time.Duration { return c.ttl/10 - rand.N(c.ttl/40) }

// TTL sets how long a lock outlives a holder that dies: 8 seconds by default, and 10 ms at least. While the holder
// lives, the lock is extended before a third of the TTL is over, so the TTL need not be as long as the work.
func TTL(d time.Duration) Option {
	return lockerOption{Name: "TTL", Set: func(c *config) error {
		if err := option.Positive("TTL", d); err != nil {
			return err
		}
		if d < minTTL {
			return fmt.Errorf("TTL(%v) is less than %v", d, minTTL)
		}
		c.ttl = d.Truncate(time.Millisecond) // what Redis can keep
		return nil
	}}
}

// NodeTimeout sets how long one node may take to answer before it counts as failed, whatever the client's own timeouts
// and retries are: 250 ms by default, and at most a quarter of the TTL. A node that took longer is not waited for again
// while the others decide, until it answers in time.
func NodeTimeout(d time.Duration) Option {
	return lockerOption{Name: "NodeTimeout", Set: func(c *config) error {
		c.nodeTimeout = d
		return option.Positive("NodeTimeout", d)
	}}
}

// WaitLimit sets how long Lock, WithLock and WithLocks wait for one lock before they return ErrNotAcquired. By default
// they wait until their context ends. To not wait at all, call TryLock.
func WaitLimit(d time.Duration) Option {
	return lockerOption{Name: "WaitLimit", Set: func(c *config) error {
		c.waitLimit = d
		return option.Positive("WaitLimit", d)
	}}
}

// HandOver sets for how long the goroutines of this process may pass a lock on among themselves, without Redis, before
// other processes get their turn: 50 ms by default. With zero each holder releases the lock in Redis.
func HandOver(d time.Duration) Option {
	return lockerOption{Name: "HandOver", Set: func(c *config) error {
		if d < 0 {
			return fmt.Errorf("HandOver(%v) is negative", d)
		}
		c.handOver = d
		return nil
	}}
}

// Prefix sets the text that is put before the name of a lock to make its Redis key: "lock:" by default. All other keys
// and the channels begin with it, too. Lockers that are to exclude each other need the same prefix.
func Prefix(prefix string) Option {
	return lockerOption{Name: "Prefix", Set: func(c *config) error {
		c.prefix = prefix
		return nil
	}}
}

// Label sets a text that Inspect returns for the locks of this Locker, such as the name of the host and its process.
// It is a part of the lock's value in Redis, and has at most 256 bytes.
func Label(label string) Option {
	return lockerOption{Name: "Label", Set: func(c *config) error {
		if len(label) > maxLabel {
			return fmt.Errorf("Label: %q… has %d bytes, more than %d", strings.ToValidUTF8(label[:20], ""), len(label), maxLabel)
		}
		c.label = label
		return nil
	}}
}

// MaxHold sets how long a lease lasts at most: there is no limit by default. After that time the lease is lost, even
// if its callback is still running: its context is cancelled with ErrLost, it is not extended any more, and Unlock
// returns ErrLost. Others can acquire the lock when its TTL is over, or earlier if it is unlocked. So the holder has
// some time to stop, and a goroutine that hangs does not keep the lock for ever. If the holder goes on, only a Fence
// stops its writes.
func MaxHold(d time.Duration) Option {
	return lockerOption{Name: "MaxHold", Set: func(c *config) error {
		c.maxHold = d
		return option.Positive("MaxHold", d)
	}}
}

// Backoff sets how long to wait before the next attempt when the last one failed and there is no holder to wait for:
// no process got a majority, or nodes are down. f gets the number of attempts that have failed, and must be safe for
// concurrent use. The default is a random time between zero and a limit that grows from 10 ms to half a second (full
// jitter).
func Backoff(f func(attempt int) time.Duration) Option {
	return lockerOption{Name: "Backoff", Set: func(c *config) error {
		if f == nil {
			return errors.New("Backoff(nil): a function is needed")
		}
		c.backoff = f
		return nil
	}}
}

// OnEvent adds a function that is called with each [Event], for logs and metrics. It may be given several times: the
// functions are called in that order. LogEvents returns one that writes to a log.
//
// The context is that of the call in which the event happens, such as Lock, Unlock or Mint. It may have ended. When
// the watchdog extends or loses a lease, the context has the values of the lease's context, and does not end. So a
// span or a logger in the caller's context is found in both cases.
//
// f runs on the goroutine on which the event happens, so it must return quickly. It may be called concurrently. It
// must not call a method of the Locker, a Lease or a Fence, which could wait for f. It must not panic: the lock would
// stay held.
func OnEvent(f func(context.Context, Event)) Option {
	return lockerOption{Name: "OnEvent", Many: true, Set: func(c *config) error {
		if f == nil {
			return errors.New("OnEvent(nil): a function is needed")
		}
		c.onEvent = append(c.onEvent, f)
		return nil
	}}
}

// WithObserver shows every operation of the Locker to o, for traces and metrics. It may be given several times: the
// Observers see an operation in that order.
//
// The names of the operations are "distlock.Lock", "distlock.TryLock", "distlock.WithLock", "distlock.WithLocks",
// "distlock.Unlock", "distlock.Inspect" and "distlock.Break". WithLock and WithLocks include the callback and the
// release. Table is empty, and the name of a lock is in no Operation. It may be in the text of Result.Err. Attempts
// counts how often the nodes were asked for a lock, or, by Unlock, to release it: 0 means that the lock was handed
// over in the process. Waited is how long the operation waited for locks that were not free, and WaitedInServer is how
// long of it for other processes. The outcome is refused for ErrNotAcquired, whatever its cause, and error for ErrLost.
//
// The context that o returns is used for the commands of the operation, for its events and for the callback. The
// context of a lease that Lock or TryLock returns comes from the caller's context, because the operation is over
// then.
func WithObserver(o nogap.Observer) Option {
	return lockerOption{Name: "WithObserver", Many: true, Set: func(c *config) error {
		if o == nil {
			return errors.New("WithObserver(nil): an Observer is needed")
		}
		c.observers.Add(o)
		return nil
	}}
}
