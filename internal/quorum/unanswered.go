package quorum

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// timeoutError says that a node did not answer in time. It does not wrap the context's error, which would look as if
// the caller's context had ended.
type timeoutError struct {
	after time.Duration
	why   error // nil if nothing more is known
}

func (e timeoutError) Error() string {
	if e.why != nil {
		return fmt.Sprintf("no answer within %v: %v", e.after, e.why)
	}
	return fmt.Sprintf("no answer within %v", e.after)
}

func (e timeoutError) Timeout() bool { return true }
func (e timeoutError) Unwrap() error { return e.why }

// unanswered returns the error of a node that has not answered in time. err is the client's, nil if it has not returned.
// The client tells only that the time is over when it waited for a connection: so this asks why there was none.
func (n *Node) unanswered(err error) error {
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) && !timedOut(err) {
		return err
	}
	why := n.connectionsInUse()
	if why == nil {
		why = n.probe.failure(n)
	}
	return timeoutError{n.timeout, why}
}

func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// connectionsInUse returns an error if the client has no connection left, and not because of us alone: then the node may
// be in order. By whom a connection is used, the client does not tell.
func (n *Node) connectionsInUse() error {
	c, ok := n.given.(*redis.Client)
	if !ok {
		return nil
	}
	size, ours := c.Options().PoolSize, int(n.inFlight.Load()+n.inPerson.Load())
	if freeConnections(c) > 0 || ours >= size {
		return nil
	}
	return fmt.Errorf("all %d connections of the client are in use, and the locks have no more than %d commands under way", size, ours)
}

// probe opens a connection to see why none can be opened. go-redis does not tell while it tries again.
type probe struct {
	mu   sync.Mutex
	last *probing
}

type probing struct {
	start time.Time
	done  chan struct{}
	err   error
}

// failure returns why no connection to a node can be opened, if that shows at once.
func (p *probe) failure(n *Node) error {
	c, ok := n.given.(*redis.Client)
	if !ok || c.Options().Dialer == nil {
		return nil
	}
	p.mu.Lock()
	if p.last == nil || time.Since(p.last.start) > n.timeout {
		last := &probing{start: time.Now(), done: make(chan struct{})}
		p.last = last
		n.background.Go(func() { last.run(c, n.timeout) })
	}
	last := p.last
	p.mu.Unlock()
	timer := time.NewTimer(n.timeout / 25)
	defer timer.Stop()
	select {
	case <-last.done:
		return last.err
	case <-timer.C:
		return nil
	}
}

func (p *probing) run(c *redis.Client, timeout time.Duration) {
	defer close(p.done)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, p.err = recovered(ctx, func(ctx context.Context) (struct{}, error) {
		conn, err := c.Options().Dialer(ctx, c.Options().Network, c.Options().Addr)
		if err == nil {
			conn.Close()
		}
		return struct{}{}, err
	})
	if ctx.Err() != nil {
		p.err = nil // it hangs, too
	}
}
