package distlock

import (
	"context"
	"sync"
	"time"
)

// tasks are the goroutines that clean up behind the callers' backs.
type tasks struct {
	// closing ends when the Locker is closed.
	closing context.Context

	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when running becomes zero, if somebody waits for it
}

// run runs f on a goroutine of its own.
func (t *tasks) run(f func()) {
	t.mu.Lock()
	t.running++
	t.mu.Unlock()
	go func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.running--; t.running == 0 && t.idle != nil {
				close(t.idle)
				t.idle = nil
			}
		}()
		f()
	}()
}

// wait waits until nothing runs, no longer than d.
func (t *tasks) wait(d time.Duration) {
	t.mu.Lock()
	if t.running == 0 {
		t.mu.Unlock()
		return
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
