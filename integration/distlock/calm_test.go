//go:build unix

package distlock_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/integration/calm"
)

// newCalm starts a clock that beats with a server until the test ends.
func newCalm(t *testing.T, addr string) *calm.Clock {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	return calm.Start(t, func(ctx context.Context) { client.Ping(ctx) })
}

// pauses knows when this process stood still, and for how long, from a goroutine that beats every few milliseconds.
type pauses struct {
	mu   sync.Mutex
	last time.Time // the last beat
	gaps []gap     // between two beats, the longer ones
}

type gap struct{ from, to time.Time }

// watchPauses beats until the test ends.
func watchPauses(t *testing.T) *pauses {
	t.Helper()
	p := &pauses{last: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			time.Sleep(2 * time.Millisecond)
			p.mu.Lock()
			now := time.Now()
			if now.Sub(p.last) > 10*time.Millisecond {
				p.gaps = append(p.gaps, gap{p.last, now})
			}
			p.last = now
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	return p
}

// since returns the longest time without a beat that ended after a moment. One that goes on counts as well.
func (p *pauses) since(moment time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest := time.Since(p.last)
	for _, g := range p.gaps {
		if g.to.After(moment) {
			longest = max(longest, g.to.Sub(g.from))
		}
	}
	return longest
}
