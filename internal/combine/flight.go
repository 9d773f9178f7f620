package combine

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var errHangs = errors.New("a call under way has not ended: its driver did not return in time")

// flight is what is under way.
type flight struct {
	running atomic.Int64 // what has begun and not ended
	lost    atomic.Int64 // batches that nobody waits for any more, and that have not come back
	closing atomic.Bool
	idle    chan struct{} // closed when nothing is running, and nothing will
	once    sync.Once     // for closing it
}

func (f *flight) begin() { f.running.Add(1) }

func (f *flight) end() {
	if f.running.Add(-1) == 0 && f.closing.Load() {
		f.once.Do(func() { close(f.idle) })
	}
}

// abandon takes a batch for lost.
func (f *flight) abandon() {
	f.lost.Add(1)
	f.end()
}

// comeBack is for a batch that was taken for lost.
func (f *flight) comeBack() { f.lost.Add(-1) }

// wait waits until nothing is running. It must be called when nothing can begin any more. (What begins all the same, to
// find that out, does nothing.)
func (f *flight) wait(limit time.Duration) error {
	f.begin()
	f.closing.Store(true)
	f.end()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	running := false
	select {
	case <-f.idle:
	case <-timer.C:
		running = f.running.Load() > 0
	}
	if running || f.lost.Load() > 0 {
		return errHangs
	}
	return nil
}
