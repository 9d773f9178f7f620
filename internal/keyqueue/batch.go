package keyqueue

import "time"

// Join puts a new turn at the end of the key's line, unless as many as most wait there already: then it returns
// ErrOverloaded. It does not wait: Await does. If nobody held the key, the turn has come.
//
// The key is the bytes of a string, which is made for the first caller alone.
func Join[V any](q *QueueOf[string, V], key []byte, most int, turn *TurnOf[string, V]) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	turn.joined = true
	l := q.lines[string(key)]
	switch {
	case q.closed:
		return ErrClosed
	case l == nil:
		q.open(string(key), turn)
	case l.waiting >= most:
		return ErrOverloaded
	default:
		l.push(turn)
	}
	return nil
}

// Await waits until it is decided what becomes of the caller, and returns that. When done is closed first, the caller
// leaves the line, unless the holder has collected it: then Await goes on to wait for the answer.
func (t *TurnOf[K, V]) Await(done <-chan struct{}) Fate {
	if t.ready == nil {
		return Granted
	}
	select {
	case <-t.ready:
		return t.fate
	case <-done:
	}
	if t.leave() {
		return Left
	}
	<-t.ready
	return t.fate
}

// Collect takes the first callers of Join that wait behind the holder out of the line, up to most of them, in their
// order. It leaves out those whom wanted rejects, and goes no further than to a caller of Wait. Who was collected can't
// leave any more, and must be answered. Collect returns ErrClosed if the queue has been closed. It is for the holder of
// the turn alone, once.
//
// If it collects nobody and limit is positive, the turn ends when somebody has waited for it for that long.
//
// wanted is called while the queue is locked.
func (t *TurnOf[K, V]) Collect(most int, wanted func(*V) bool, limit time.Duration) (batch []*TurnOf[K, V], err error) {
	l := t.line
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	switch {
	case l.queue.closed:
		return nil, ErrClosed
	case t.done:
		return nil, nil
	}
	for w := t.next; w != nil && w.joined && len(batch) < most; {
		next := w.next
		if wanted(&w.Value) {
			if batch == nil {
				batch = make([]*TurnOf[K, V], 0, min(l.waiting, most))
			}
			l.unlink(w, Collected)
			batch = append(batch, w)
		}
		w = next
	}
	if batch == nil {
		l.limit = limit
		l.watch()
	}
	return batch, nil
}

// Answer ends the waiting of a caller that was collected. It must be called once, after what the caller is told has been
// put into Value.
func (t *TurnOf[K, V]) Answer() { close(t.ready) }

// Pass is Done for a holder that leaves something to the next one: leave may put it into that one's Value. It is not
// called if nobody waits, or if the turn has ended already.
//
// leave is called while the queue is locked.
func (t *TurnOf[K, V]) Pass(leave func(next *V)) {
	q := t.line.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.next != nil { // which a turn that has ended never has
		leave(&t.next.Value)
	}
	t.end()
}
