// Package keyqueue lets the goroutines of one process queue for a key, first come, first served.
//
// The lock that they want lives in a database or in Redis, where waiting is dear: it takes a connection, or polling. One
// goroutine per process waits there; the others wait here, where a turn costs about as much as a mutex.
package keyqueue

import (
	"context"
	"errors"
	"sync"
)

// Queue holds one line of callers for every key in use. The zero value is an empty Queue, ready for use. A Queue is safe
// for concurrent use and must not be copied after first use. It keeps nothing for a key that nobody holds.
type Queue[K comparable] struct {
	mu    sync.Mutex
	lines map[K]line[K]
	peak  int // the most keys that lines has held since it was made
}

// line is what is known about one key in use: the holder's Turn is the first of a doubly linked list.
type line[K comparable] struct {
	last    *Turn[K]
	waiting int // those behind the holder
}

// Turn is the right to go on with a key. Done must be called to let the next caller in.
type Turn[K comparable] struct {
	queue      *Queue[K]
	key        K
	prev, next *Turn[K]
	ready      chan struct{} // closed when the turn comes; nil for a turn that never had to wait
	held, done bool
}

// Wait waits until every earlier caller with the same key is done, and returns the turn.
//
// If ctx ends first, Wait returns its error at once, and the caller has left the line as if it had never come: a turn
// that was handed over at the same moment is passed on to the next one. A context that has ended already never gets a
// turn.
func (q *Queue[K]) Wait(ctx context.Context, key K) (*Turn[K], error) {
	return q.WaitOr(ctx, nil, key)
}

// ErrStopped is the error of WaitOr after its stop.
var ErrStopped = errors.New("keyqueue: stopped")

// WaitOr is Wait with another way out: it returns ErrStopped, and has left the line, when stop is closed. It spares the
// caller a context derived from two.
func (q *Queue[K]) WaitOr(ctx context.Context, stop <-chan struct{}, key K) (*Turn[K], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	turn := q.join(key, true)
	if turn.ready == nil {
		return turn, nil
	}
	select {
	case <-turn.ready:
		// Both may be ready, and select then picks either.
		if err := ctx.Err(); err != nil {
			turn.Done()
			return nil, err
		}
		return turn, nil
	case <-ctx.Done():
		turn.leave()
		return nil, ctx.Err()
	case <-stop:
		turn.leave()
		return nil, ErrStopped
	}
}

// Try returns the turn if nobody holds the key; it never waits.
func (q *Queue[K]) Try(key K) (turn *Turn[K], ok bool) {
	turn = q.join(key, false)
	return turn, turn != nil
}

// Waiting returns how many callers wait for the key behind the one that holds it.
func (q *Queue[K]) Waiting(key K) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines[key].waiting
}

// Done ends the turn and lets the next caller in. Calls after the first have no effect. It may be called from any
// goroutine.
func (t *Turn[K]) Done() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	t.end()
}

// join puts a new turn at the end of the key's line. It returns nil if the key is held and the caller won't wait.
func (q *Queue[K]) join(key K, wait bool) *Turn[K] {
	q.mu.Lock()
	defer q.mu.Unlock()

	l, busy := q.lines[key]
	if busy && !wait {
		return nil
	}
	turn := &Turn[K]{queue: q, key: key, prev: l.last, held: !busy}
	if busy {
		turn.ready = make(chan struct{})
		l.last.next = turn
		l.waiting++
	}
	l.last = turn
	if q.lines == nil {
		q.lines = make(map[K]line[K])
	}
	q.lines[key] = l
	q.peak = max(q.peak, len(q.lines))
	return turn
}

// leave takes a caller that gave up out of the line, or passes its turn on if it has come in the meantime.
func (t *Turn[K]) leave() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()

	if t.held {
		t.end()
		return
	}
	l := q.lines[t.key]
	t.prev.next = t.next
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.last = t.prev
	}
	l.waiting--
	q.lines[t.key] = l
	t.done = true
}

// end makes the next in line the holder, or forgets the key. The queue is locked.
func (t *Turn[K]) end() {
	if t.done {
		return
	}
	t.done = true
	q := t.queue
	next := t.next
	if next == nil {
		delete(q.lines, t.key)
		q.shrink()
		return
	}
	l := q.lines[t.key]
	l.waiting--
	q.lines[t.key] = l
	// A finished Turn that somebody keeps must not keep those that came after it alive.
	t.next, next.prev = nil, nil
	next.held = true
	close(next.ready)
}

// shrink gives the memory of a burst of keys back: a Go map never does so by itself. The queue is locked.
func (q *Queue[K]) shrink() {
	const small = 1024 // below this the map is not worth the copy
	if q.peak <= small || len(q.lines) > q.peak/8 {
		return
	}
	lines := make(map[K]line[K], len(q.lines))
	for key, l := range q.lines {
		lines[key] = l
	}
	q.lines, q.peak = lines, len(lines)
}
