// Package calm has a clock for what must be faster than a timer, also on a busy machine.
package calm

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

const (
	pause = 5 * time.Millisecond
	most  = 8 * time.Millisecond
)

// Clock beats by asking a server and sleeping for a moment, and no beat counts for more than it takes where nothing else runs:
// while the machine stands still, so does the clock.
type Clock struct{ passed atomic.Int64 }

// Start starts a clock that beats until the test ends. ask asks the server, and returns when it has answered.
func Start(tb testing.TB, ask func(context.Context)) *Clock {
	tb.Helper()
	c := new(Clock)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for last := time.Now(); ctx.Err() == nil; {
			ask(ctx)
			time.Sleep(pause)
			now := time.Now()
			c.passed.Add(int64(min(now.Sub(last), most)))
			last = now
		}
	}()
	tb.Cleanup(func() {
		cancel()
		<-stopped
	})
	return c
}

// Now returns the time that has passed since Start.
func (c *Clock) Now() time.Duration { return time.Duration(c.passed.Load()) }
