// Package oneatatime lets one call find out what all calls want to know, while the others wait a moment for what it finds.
package oneatatime

import (
	"context"
	"sync"
	"time"
)

// patience is how long a call waits for the one that has the Turn. What is found out takes some milliseconds; who takes longer may
// hang, on a dead connection for example, and the others are not to hang with it.
const patience = time.Second

// Turn is held by one call at a time, or by several if one takes longer than patience. Who has waited for it looks first whether
// the one before has found what is wanted. The zero Turn is free. It must not be copied.
type Turn struct {
	made sync.Once
	free chan struct{} // holds one token
}

// Take waits for the Turn, up to a second, and returns what ends it. The error is that of ctx.
func (t *Turn) Take(ctx context.Context) (done func(), err error) {
	t.made.Do(func() {
		t.free = make(chan struct{}, 1)
		t.free <- struct{}{}
	})
	done = func() { t.free <- struct{}{} }
	select {
	case <-t.free:
		return done, nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.free:
		return done, nil
	case <-timer.C:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
