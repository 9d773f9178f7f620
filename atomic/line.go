package atomic

import (
	"hash/maphash"
	"runtime"
	"sync"
	"time"
)

// call is one caller's part in a batch. Its outcome is the leader's to set until wake.
type call struct {
	wish
	done <-chan struct{} // closed when the caller gives up

	granted bool
	level   level // what the call left, or what was in its way
	err     error // without the row, unless alone
	alone   bool  // made on the Counter

	wake       chan signal // one; nil for who has had the turn from the beginning
	queued     bool        // guarded by the lines' mutex
	line       *line
	prev, next *call
}

func (c *call) gaveUp() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// signal is what a caller who waits is woken for.
type signal int

const (
	answered  signal = iota // the outcome is there
	leads                   // it has the turn
	abandoned               // the batch left, and nobody knows what became of it
)

// lines are the callers who wait, for each row that is wanted. A row is in there from its first caller's enter until
// pass finds nobody waiting. One caller at a time has the turn to send something for the row.
type lines struct {
	maxWaiting int
	patience   time.Duration // with a turn of a caller alone, while others wait

	mu     sync.Mutex
	closed bool
	rows   map[string]*line
	// crowded says, by the hash of the row's name, whether the last turn was that of several callers.
	crowded [256]bool
}

var seed = maphash.MakeSeed()

// crowd returns where crowded has the line's row.
func (q *lines) crowd(l *line) *bool {
	return &q.crowded[maphash.String(seed, l.name)%uint64(len(q.crowded))]
}

// line is the doubly linked list of those who wait for a row, and what the last one who had the turn learned about it.
type line struct {
	name        string
	first, last *call
	waiting     int
	turn        int
	leader      *call       // who has been given the turn and has not taken the batch yet
	alone       bool        // the turn is that of a caller who makes its call on the Counter
	watcher     *time.Timer // ends such a turn
	memory
}

// turn is the right to send something for a row.
type turn struct {
	line   *line
	number int
}

// enter lets a caller wait at a row, and gives it the turn if it is the first one there. It also tells whether others are
// likely to come at any moment.
func (q *lines) enter(name []byte, c *call) (first, crowded bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, false, ErrClosed
	}
	l := q.rows[string(name)]
	if l == nil {
		l = &line{name: string(name), leader: c}
		if q.rows == nil {
			q.rows = make(map[string]*line)
		}
		q.rows[l.name] = l
		l.push(c)
		return true, *q.crowd(l), nil
	}
	if l.waiting == q.maxWaiting {
		return false, false, ErrOverloaded
	}
	c.wake = make(chan signal, 1)
	l.push(c)
	q.watch(l)
	return false, true, nil
}

// gather lets others run who are ready to, before the caller whose turn it is takes the batch, as long as some of them
// come to the row. So those who have just got their answers, and call again, form one batch and not two that take turns.
// Without them it lasts a few microseconds, or one round of the scheduler if the processors are busy.
func (q *lines) gather(leader *call) {
	const fruitless, limit = 8, 20 * time.Microsecond
	begin := time.Now()
	for yields, most := 0, 0; yields < fruitless && time.Since(begin) < limit; yields++ {
		runtime.Gosched()
		if n := q.waiting(leader.line); n > most {
			yields, most = 0, n
		}
	}
}

func (q *lines) waiting(l *line) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return l.waiting
}

// watch sees to it that a caller alone, whose context may have no end, does not keep others waiting for ever. The lines
// are locked.
func (q *lines) watch(l *line) {
	if l.alone && l.waiting > 0 && l.watcher == nil {
		t := turn{l, l.turn}
		l.watcher = time.AfterFunc(q.patience, func() { q.pass(t, memory{}) })
	}
}

// leave takes a caller who gives up out of its line, unless its batch is under way.
func (q *lines) leave(c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !c.queued {
		return false
	}
	l := c.line
	had := l.leader == c
	l.remove(c)
	if had {
		q.advance(l)
	}
	return true
}

// take returns the batch of the caller whose turn it is: those who wait and have not given up. It returns none, and has
// set the outcome, if there will be no batches any more.
func (q *lines) take(leader *call, most int, first bool) (t turn, batch []*call, m memory) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := leader.line
	if q.closed {
		leader.err = ErrClosed
		l.remove(leader)
		q.advance(l)
		return turn{}, nil, memory{}
	}
	batch = make([]*call, 0, min(l.waiting, most))
	for c := l.first; c != nil && len(batch) < most; {
		next := c.next
		if c == leader || !c.gaveUp() { // the others will leave by themselves
			l.remove(c)
			batch = append(batch, c)
		}
		c = next
	}
	l.leader = nil
	l.alone = first && len(batch) == 1
	*q.crowd(l) = len(batch) > 1
	q.watch(l)
	return turn{l, l.turn}, batch, l.memory
}

// pass ends a turn, and leaves what was learned to the next one. It has no effect on a turn that has ended.
func (q *lines) pass(t turn, m memory) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.line.turn == t.number {
		t.line.memory = m
		q.advance(t.line)
	}
}

// advance gives the turn to the first who waits, or forgets the row. The lines are locked.
func (q *lines) advance(l *line) {
	l.turn++
	l.alone = false
	if l.watcher != nil {
		l.watcher.Stop()
		l.watcher = nil
	}
	l.leader = l.first
	if l.leader == nil {
		delete(q.rows, l.name)
		return
	}
	l.leader.wake <- leads
}

// close refuses those who wait, and those to come. A caller who has been given the turn finds out by itself.
func (q *lines) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.rows {
		for c := l.first; c != nil; {
			next := c.next
			if c != l.leader {
				l.remove(c)
				c.err = ErrClosed
				c.wake <- answered
			}
			c = next
		}
	}
}

func (q *lines) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func (l *line) push(c *call) {
	c.queued, c.line, c.prev = true, l, l.last
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.waiting++
}

func (l *line) remove(c *call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next, c.queued = nil, nil, false
	l.waiting--
}
