// Package keyqueue lets the goroutines of one process queue for a key, first come, first served.
//
// The lock that they want lives in a database or in Redis, where waiting is dear: it takes a connection, or polling. One
// goroutine per process waits there; the others wait here, where a turn costs about as much as a mutex.
//
// A caller of Wait gets a turn of its own. A caller of Join brings along what it wants done, so that the holder of the
// turn may do it too.
package keyqueue

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Queue is a queue of callers who bring nothing.
type Queue[K comparable] = QueueOf[K, struct{}]

// Turn is a turn in a Queue.
type Turn[K comparable] = TurnOf[K, struct{}]

// Errors of callers who got no turn.
var (
	// ErrStopped is returned by WaitOr after its stop.
	ErrStopped = errors.New("keyqueue: stopped")
	// ErrClosed is returned when the queue has been closed.
	ErrClosed = errors.New("closed")
	// ErrOverloaded is returned when as many callers wait as may.
	ErrOverloaded = errors.New("overloaded")
)

// QueueOf holds one line of callers for every key in use. V is what callers of Join bring along. The zero value is an
// empty queue, ready for use. A QueueOf is safe for concurrent use and must not be copied after first use. It keeps
// nothing for a key that nobody holds.
type QueueOf[K comparable, V any] struct {
	mu     sync.Mutex
	lines  map[K]*line[K, V]
	spare  *line[K, V] // a line that is used no more, for the next key
	peak   int         // the most keys that lines has held since it was made
	closed bool
}

// line is a doubly linked list: the holder of the turn, and those who wait behind it.
type line[K comparable, V any] struct {
	queue        *QueueOf[K, V] // always the same
	key          K
	holder, last *TurnOf[K, V]
	waiting      int           // those behind the holder
	limit        time.Duration // of the holder's turn, once somebody waits; 0 is none
	timer        *time.Timer   // ends it
}

// TurnOf is the right to go on with a key, once it has come. Done must be called to let the next caller in.
type TurnOf[K comparable, V any] struct {
	// Value is what the caller brought along.
	Value V

	line       *line[K, V]
	prev, next *TurnOf[K, V]
	ready      chan struct{} // closed when the waiting is over; nil for a turn that never had to wait
	fate       Fate
	joined     bool // by Join
	done       bool
	over       chan struct{}   // closed by Done, after LetIn
	earlier    <-chan struct{} // over, of the last holder before this one that let somebody in
}

// Fate is what becomes of a caller who waits. It is decided once, under the queue's lock and before ready is closed.
type Fate uint8

const (
	undecided Fate = iota
	Granted        // it has the turn
	Collected      // the holder has taken it into its batch, and answered
	Refused        // the queue was closed
	Left           // it gave up
)

// Wait waits until every earlier caller with the same key is done, and returns the turn.
//
// If ctx ends first, Wait returns its error at once, and the caller has left the line as if it had never come: a turn
// that was handed over at the same moment is passed on to the next one. A context that has ended already never gets a
// turn.
func (q *QueueOf[K, V]) Wait(ctx context.Context, key K) (*TurnOf[K, V], error) {
	return q.WaitOr(ctx, nil, key)
}

// WaitOr is Wait with another way out: it returns ErrStopped, and has left the line, when stop is closed. It spares the
// caller a context derived from two.
func (q *QueueOf[K, V]) WaitOr(ctx context.Context, stop <-chan struct{}, key K) (*TurnOf[K, V], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	turn, err := q.enter(key, true)
	if err != nil || turn.ready == nil {
		return turn, err
	}
	select {
	case <-turn.ready:
	case <-ctx.Done():
		turn.leave()
		return nil, ctx.Err()
	case <-stop:
		turn.leave()
		return nil, ErrStopped
	}
	if turn.fate == Refused {
		return nil, ErrClosed
	}
	// The context may have ended at the same moment.
	if err := ctx.Err(); err != nil {
		turn.Done()
		return nil, err
	}
	return turn, nil
}

// Try returns the turn if nobody holds the key and the queue is open; it never waits.
func (q *QueueOf[K, V]) Try(key K) (turn *TurnOf[K, V], ok bool) {
	turn, err := q.enter(key, false)
	return turn, err == nil && turn != nil
}

// Waiting returns how many callers wait for the key behind the one that holds it.
func (q *QueueOf[K, V]) Waiting(key K) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lines[key]; l != nil {
		return l.waiting
	}
	return 0
}

// Size returns how many keys are held, and how many callers wait for one.
func (q *QueueOf[K, V]) Size() (held, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lines {
		waiting += l.waiting
	}
	return len(q.lines), waiting
}

// Close refuses those who wait with ErrClosed, and those to come. A holder keeps its turn, but collects nobody.
func (q *QueueOf[K, V]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.lines {
		for l.holder.next != nil {
			l.dismiss(l.holder.next, Refused)
		}
	}
}

// Closed reports whether Close was called.
func (q *QueueOf[K, V]) Closed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// enter puts a new turn at the end of the key's line. It returns nil if the key is held and the caller won't wait.
func (q *QueueOf[K, V]) enter(key K, wait bool) (*TurnOf[K, V], error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[key]
	switch {
	case q.closed:
		return nil, ErrClosed
	case l == nil:
		turn := new(TurnOf[K, V])
		q.open(key, turn)
		return turn, nil
	case !wait:
		return nil, nil
	}
	turn := new(TurnOf[K, V])
	l.push(turn)
	return turn, nil
}

// open makes a line for the key, and gives t the turn. The queue is locked.
func (q *QueueOf[K, V]) open(key K, t *TurnOf[K, V]) {
	l := q.spare
	if q.spare = nil; l == nil {
		l = &line[K, V]{queue: q}
	}
	l.key, l.holder, l.last = key, t, t
	t.line, t.fate = l, Granted
	if q.lines == nil {
		q.lines = make(map[K]*line[K, V])
	}
	q.lines[key] = l
	q.peak = max(q.peak, len(q.lines))
}

// push puts t at the end of the line. The queue is locked.
func (l *line[K, V]) push(t *TurnOf[K, V]) {
	t.line, t.prev, t.ready = l, l.last, make(chan struct{})
	l.last.next = t
	l.last = t
	l.waiting++
	l.watch()
}

// unlink takes a turn that waits out of the line, for the reason given. The queue is locked.
func (l *line[K, V]) unlink(t *TurnOf[K, V], why Fate) {
	t.fate = why
	t.prev.next = t.next
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.last = t.prev
	}
	t.prev, t.next = nil, nil
	l.waiting--
}

// dismiss unlinks a turn that waits, and wakes its caller. The queue is locked.
func (l *line[K, V]) dismiss(t *TurnOf[K, V], why Fate) {
	l.unlink(t, why)
	close(t.ready)
}

// watch starts the timer of a turn that is limited, if somebody waits for it. The queue is locked.
func (l *line[K, V]) watch() {
	if l.limit > 0 && l.waiting > 0 && l.timer == nil {
		holder := l.holder
		l.timer = time.AfterFunc(l.limit, func() { holder.Done() })
	}
}

// leave takes a caller that gave up out of the line, or passes its turn on if it has come in the meantime. It reports
// whether there was still something to leave.
func (t *TurnOf[K, V]) leave() bool {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	switch t.fate {
	case undecided:
		t.line.unlink(t, Left)
		return true
	case Granted:
		t.end()
		return true
	}
	return false
}

// Immediate reports whether nobody held the key when the turn's caller came.
func (t *TurnOf[K, V]) Immediate() bool { return t.ready == nil }

// Key returns the key. It is for the holder of the turn, before Done.
func (t *TurnOf[K, V]) Key() K { return t.line.key }

// Behind returns how many callers wait behind the turn, while it is that of the holder. It is 0 after Done.
func (t *TurnOf[K, V]) Behind() int {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.done {
		return 0 // the line may be another key's by now
	}
	return t.line.waiting
}

// LetIn lets the next caller in before the holder is done, if one waits, and reports whether one does. Done must still be called, and
// closes the Earlier of that caller's turn.
func (t *TurnOf[K, V]) LetIn() bool {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.done || t.next == nil {
		return false
	}
	t.over = make(chan struct{})
	return t.end()
}

// Earlier is closed when the caller is done that let this one in. It is nil if nobody has.
func (t *TurnOf[K, V]) Earlier() <-chan struct{} { return t.earlier }

// Done ends the turn and lets the next caller in. It reports whether there was one. Calls after the first have no effect
// and report false. It may be called from any goroutine.
func (t *TurnOf[K, V]) Done() (passed bool) {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.over != nil {
		close(t.over)
		t.over = nil
	}
	return t.end()
}

// end makes the next in line the holder and reports true, or forgets the key. The queue is locked.
func (t *TurnOf[K, V]) end() (passed bool) {
	if t.done {
		return false
	}
	t.done = true
	l, next := t.line, t.next
	if l.timer != nil {
		l.timer.Stop()
	}
	l.limit, l.timer, l.holder = 0, nil, next
	if next == nil {
		q := l.queue
		delete(q.lines, l.key)
		q.shrink()
		var none K
		l.key, l.last = none, nil
		q.spare = l
		return false
	}
	// A finished turn that somebody keeps must not keep those that came after it alive.
	t.next, next.prev = nil, nil
	l.waiting--
	next.fate = Granted
	next.earlier = t.earlier // of one who left without waiting for it
	if t.over != nil {
		next.earlier = t.over
	}
	close(next.ready)
	return true
}

// shrink gives the memory of a burst of keys back: a Go map never does so by itself. The queue is locked.
func (q *QueueOf[K, V]) shrink() {
	const small = 1024 // below this the map is not worth the copy
	if q.peak <= small || len(q.lines) > q.peak/8 {
		return
	}
	lines := make(map[K]*line[K, V], len(q.lines))
	for key, l := range q.lines {
		lines[key] = l
	}
	q.lines, q.peak = lines, len(lines)
}
