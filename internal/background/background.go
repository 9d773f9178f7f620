// Package background runs the work that goes on after the callers have returned.
package background

import (
	"context"
	"sync"
	"time"
)

// Group is a set of goroutines that run in the background. It is safe for concurrent use.
type Group struct {
	closing context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when running becomes zero, if somebody waits for it
}

// New returns a Group without goroutines.
func New() *Group {
	g := new(Group)
	g.closing, g.close = context.WithCancel(context.Background())
	return g
}

// Go runs f on a goroutine of its own, also after Close.
func (g *Group) Go(f func()) {
	g.mu.Lock()
	g.running++
	g.mu.Unlock()
	go func() {
		defer g.exit()
		f()
	}()
}

func (g *Group) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running--; g.running == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Closing returns a context that ends when Close is called. Goroutines that run until then wait for it.
func (g *Group) Closing() context.Context { return g.closing }

// Closed reports whether Close has been called.
func (g *Group) Closed() bool { return g.closing.Err() != nil }

// Close ends the context of Closing. It may be called more than once.
func (g *Group) Close() { g.close() }

// Wait waits until no goroutine runs, but no longer than d. It reports whether none runs.
func (g *Group) Wait(d time.Duration) bool {
	g.mu.Lock()
	if g.running == 0 {
		g.mu.Unlock()
		return true
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-timer.C:
		return false
	}
}
