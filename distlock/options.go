package distlock

import (
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/backoff"
)

// Option changes how a Locker works. See New. If an option is given twice, the last one counts.
type Option interface {
	apply(*config) error
}

type lockerOption func(*config) error

func (o lockerOption) apply(c *config) error { return o(c) }

type config struct {
	ttl         time.Duration
	nodeTimeout time.Duration
	waitLimit   time.Duration
	handOver    time.Duration
	prefix      string
	backoff     backoff.Policy
	onEvent     func(Event)
}

const (
	defaultTTL         = 8 * time.Second
	minTTL             = 10 * time.Millisecond
	defaultNodeTimeout = 250 * time.Millisecond
	defaultHandOver    = 50 * time.Millisecond
	defaultPrefix      = "lock:"
)

// defaultBackoff spreads the processes that meet again after a vote was split, or while nodes are down.
var defaultBackoff = backoff.FullJitter(10*time.Millisecond, 500*time.Millisecond)

func newConfig(opts []Option) (config, error) {
	c := config{
		ttl:      defaultTTL,
		handOver: defaultHandOver,
		prefix:   defaultPrefix,
		backoff:  defaultBackoff,
		onEvent:  func(Event) {},
	}
	for i, o := range opts {
		if o == nil {
			return c, fmt.Errorf("distlock: option %d is nil", i)
		}
		if err := o.apply(&c); err != nil {
			return c, err
		}
	}
	if c.nodeTimeout == 0 {
		c.nodeTimeout = min(defaultNodeTimeout, c.ttl/4)
	}
	// The first renewal starts at a third of the TTL. One that hangs must leave time for another.
	if c.nodeTimeout > c.ttl/4 {
		return c, fmt.Errorf("distlock: NodeTimeout(%v) is more than a quarter of the TTL, %v", c.nodeTimeout, c.ttl)
	}
	return c, nil
}

// TTL sets how long a lock outlives a holder that dies: 8 seconds unless said otherwise, and 10 ms at least. While the
// holder lives, the lock is extended at every third of it, so a TTL need not be as long as the work.
func TTL(d time.Duration) Option {
	return lockerOption(func(c *config) error {
		if d < minTTL {
			return fmt.Errorf("distlock: TTL(%v) is less than %v", d, minTTL)
		}
		c.ttl = d.Truncate(time.Millisecond) // what Redis can keep
		return nil
	})
}

// NodeTimeout sets how long one node may take to answer before it counts as failed, whatever the client's own timeouts
// and retries are: 250 ms unless said otherwise, and at most a quarter of the TTL. A node that has overrun it is not
// waited for again while the others decide, until it answers in time.
func NodeTimeout(d time.Duration) Option {
	return lockerOption(func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("distlock: NodeTimeout(%v) is not positive", d)
		}
		c.nodeTimeout = d
		return nil
	})
}

// WaitLimit sets how long Lock, WithLock and WithLocks wait for one lock before they return ErrNotAcquired. Without it
// they wait until their context ends.
func WaitLimit(d time.Duration) Option {
	return lockerOption(func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("distlock: WaitLimit(%v) is not positive: use TryLock to not wait at all", d)
		}
		c.waitLimit = d
		return nil
	})
}

// HandOver sets for how long the goroutines of this process may pass a lock on among themselves, without touching
// Redis, before other processes get their turn: 50 ms unless said otherwise. Zero releases the lock after each holder.
func HandOver(d time.Duration) Option {
	return lockerOption(func(c *config) error {
		if d < 0 {
			return fmt.Errorf("distlock: HandOver(%v) is negative", d)
		}
		c.handOver = d
		return nil
	})
}

// Prefix sets what the names of locks are prefixed with to make the Redis key: "lock:" unless said otherwise. Lockers
// that are to exclude each other need the same prefix.
func Prefix(prefix string) Option {
	return lockerOption(func(c *config) error {
		c.prefix = prefix
		return nil
	})
}

// Backoff sets how long to wait before the next attempt when the last one failed without a holder to wait for: the
// processes split the vote, or nodes are down. f is called with the number of attempts that have failed, and must be
// safe for concurrent use. The default is full jitter from 10 ms up to half a second.
func Backoff(f func(attempt int) time.Duration) Option {
	return lockerOption(func(c *config) error {
		if f == nil {
			return errors.New("distlock: Backoff(nil)")
		}
		c.backoff = f
		return nil
	})
}

// OnEvent sets a function that is told what happens to the locks, for logs and metrics. It runs on the goroutine to
// which it happens, so it must return quickly, and is called concurrently. It must not panic: the lock would stay held.
func OnEvent(f func(Event)) Option {
	return lockerOption(func(c *config) error {
		if f == nil {
			return errors.New("distlock: OnEvent(nil)")
		}
		c.onEvent = f
		return nil
	})
}
