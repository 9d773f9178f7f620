// Package oneatatime lets one call find out what all calls want to know, while the others wait for what it finds.
package oneatatime

import (
	"context"
	"sync"
)

// Turn is held by one call at a time. Who has waited for it looks first whether the one before has found what is wanted. The
// zero Turn is free. It must not be copied.
type Turn struct {
	made sync.Once
	free chan struct{} // holds one token
}

// Take waits for the Turn, and returns what ends it. The error is that of ctx.
func (t *Turn) Take(ctx context.Context) (done func(), err error) {
	t.made.Do(func() {
		t.free = make(chan struct{}, 1)
		t.free <- struct{}{}
	})
	select {
	case <-t.free:
		return func() { t.free <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
