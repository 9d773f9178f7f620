package keyqueue

import "time"

// Join puts a caller who brings value at the end of the key's line, unless as many as most wait there already: then it
// returns ErrOverloaded. It does not wait: Await does. If nobody held the key, the caller has the turn.
//
// The key is a string's bytes, of which Join makes a string for the first caller alone.
func Join[V any](q *QueueOf[string, V], key []byte, most int, value V) (*TurnOf[string, V], error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[string(key)]
	var turn *TurnOf[string, V]
	switch {
	case q.closed:
		return nil, ErrClosed
	case l == nil:
		turn = q.open(string(key))
	case l.waiting >= most:
		return nil, ErrOverloaded
	default:
		turn = l.push()
	}
	turn.Value, turn.joined = value, true
	return turn, nil
}

// Immediate reports whether nobody held the key when the turn's caller came.
func (t *TurnOf[K, V]) Immediate() bool { return t.ready == nil }

// Behind returns how many callers wait behind the holder of the turn's key.
func (t *TurnOf[K, V]) Behind() int {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return t.line.waiting
}

// Collect takes the first callers of Join that wait behind the holder out of the line, up to most of them, in their
// order. It leaves out those whom wanted rejects, and goes no further than to a caller of Wait. Who was collected can't
// leave any more, and must be answered. Collect returns ErrClosed if the queue has been closed. It is for the holder of
// the turn alone.
//
// wanted is called while the queue is locked.
func (t *TurnOf[K, V]) Collect(most int, wanted func(*V) bool) (batch []*TurnOf[K, V], err error) {
	l := t.line
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	if l.queue.closed {
		return nil, ErrClosed
	}
	if t.next == nil || most <= 0 {
		return nil, nil
	}
	batch = make([]*TurnOf[K, V], 0, min(l.waiting, most))
	for w := t.next; w != nil && w.joined && len(batch) < most; {
		next := w.next
		if wanted(&w.Value) {
			l.unlink(w, Collected)
			batch = append(batch, w)
		}
		w = next
	}
	return batch, nil
}

// Answer ends the waiting of a caller that was collected. It must be called once, after what the caller is told has been
// put into Value.
func (t *TurnOf[K, V]) Answer() { close(t.ready) }

// Limit ends the turn when somebody has waited for it for so long. It is for the holder of the turn alone, once.
func (t *TurnOf[K, V]) Limit(d time.Duration) {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !t.done {
		t.line.limit = d
		t.line.watch()
	}
}

// Pass is Done for a holder that leaves something to the next one: leave may put it into that one's Value. It is not
// called if nobody waits, or if the turn has ended already.
//
// leave is called while the queue is locked.
func (t *TurnOf[K, V]) Pass(leave func(next *V)) {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !t.done && t.next != nil {
		leave(&t.next.Value)
	}
	t.end()
}
