package distlock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4/redis"
)

// claim is what one node knows of one hold: redsync's Pool for it. It remembers whether the key was asked for and
// granted there, and sees to it that the key is deleted in the end, even if the node answers when everybody has gone.
type claim struct {
	node *node

	mu      sync.Mutex
	state   claimState
	dropped bool // nobody wants the key any more that the node is still being asked for
}

type claimState int

const (
	unasked claimState = iota
	asking
	granted
	refused
	unknown // asking failed: the node may have set the key
)

// Get implements redsync's Pool.
func (c *claim) Get(ctx context.Context) (redis.Conn, error) {
	growStack()
	r := roundOf(ctx)
	if r == nil {
		return nil, errUnused
	}
	return &conn{claim: c, round: r}, nil
}

// take asks the node for the key.
func (c *claim) take(r *round, key, value string, ttl time.Duration) (bool, error) {
	c.mu.Lock()
	c.state = asking
	c.mu.Unlock()
	yes, err := ask(r, c.node, func(ctx context.Context) (bool, error) {
		yes, err := c.node.take(ctx, key, value, ttl)
		if c.settle(yes, err) {
			c.node.leftovers.add(key, value)
		}
		return yes, err
	})
	if errors.Is(err, errOverrun) {
		c.settle(false, nil) // it was not asked
	}
	switch {
	case err != nil:
		r.vote(c.node, false, err)
	case !yes:
		r.vote(c.node, false, errHeld)
	default:
		r.vote(c.node, true, nil)
	}
	return yes, err
}

// settle notes the node's answer. It reports whether what the node has, or may have, is to be dropped.
func (c *claim) settle(yes bool, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.state = unknown
	case yes:
		c.state = granted
	default:
		c.state = refused
	}
	return c.dropped && c.state != refused
}

// leave marks the key as unwanted. It reports whether the node has to be told: not if it refused, and not by us if the
// goroutine that still asks will see to it.
func (c *claim) leave() (tell bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = true
	switch c.state {
	case asking:
		return false, errUnanswered
	case unasked, refused:
		return false, errHeld
	}
	return true, nil
}

// drop deletes the key after an attempt that has failed.
func (c *claim) drop(r *round, key, value string) {
	if tell, _ := c.leave(); !tell {
		return
	}
	ask(r, c.node, func(ctx context.Context) (struct{}, error) {
		err := c.node.drop(ctx, key, value)
		if !answered(err) {
			c.node.leftovers.add(key, value)
		}
		return struct{}{}, err
	})
}

// give deletes the key at the end of a hold, and wakes the next process once a majority of nodes have.
func (c *claim) give(r *round, key, value string) (int64, error) {
	tell, err := c.leave()
	if !tell {
		r.vote(c.node, false, err)
		return 0, err
	}
	status, err := ask(r, c.node, func(ctx context.Context) (int64, error) {
		status, next, err := c.node.give(ctx, key, value)
		if !answered(err) {
			c.node.leftovers.add(key, value)
		}
		if next != "" {
			r.woke.Store(true)
			c.node.tasks.run(func() {
				<-r.decided
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.node.timeout)
				defer cancel()
				c.node.wake(ctx, key, next)
			})
		}
		return status, err
	})
	switch {
	case err != nil:
		r.vote(c.node, false, err)
	case status == 0:
		r.vote(c.node, false, errHeld)
	case status < 0:
		r.vote(c.node, false, errGone)
	default:
		r.vote(c.node, true, nil)
	}
	return status, err
}

// extend renews the key.
func (c *claim) extend(r *round, key, value string, ttl time.Duration) (int64, error) {
	status, err := ask(r, c.node, func(ctx context.Context) (int64, error) {
		return extendScript.Run(ctx, c.node.client, []string{key}, value, ttl.Milliseconds()).Int64()
	})
	switch {
	case err != nil:
		r.vote(c.node, false, err)
	case status == 0:
		r.vote(c.node, false, errGone)
	default:
		r.vote(c.node, true, nil)
	}
	return status, err
}
