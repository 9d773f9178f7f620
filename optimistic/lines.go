package optimistic

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/rowkey"
)

// How long the others in line wait for one caller. The end of these times makes no write less safe, since the version
// guards them all; it keeps a callback that is slow, or that calls Modify itself, from holding up a line for ever.
const (
	turnTime     = time.Second
	callbackTime = 100 * time.Millisecond
)

// lines is where callers of one process queue for rows that they have been fighting over. Until a swap has been lost
// nobody queues, and nobody pays more than a look at one number.
type lines struct {
	queue keyqueue.Queue[string]
	// contenders counts the callers who are in a line because somebody was in their way.
	contenders atomic.Int64
}

// place is one caller's, in the line for its row or outside. It is not safe for concurrent use.
type place struct {
	lines     *lines
	key       []any
	turn      *keyqueue.Turn[string]
	timer     *time.Timer // ends the turn
	contended bool
}

// enter gives a caller who has not lost yet its place: outside, unless others queue for its row already. Then it waits
// behind them, instead of making the first of them lose.
func (p *place) enter(ctx context.Context) error {
	if p.lines.contenders.Load() == 0 {
		return nil
	}
	row := p.row()
	if turn, ok := p.lines.queue.Try(row); ok {
		p.start(turn) // it is another row that is contended
		return nil
	}
	return p.wait(ctx, row)
}

// requeue gives a caller who has just lost the turn that it needs, unless it has it still. waited says that others were
// ahead.
func (p *place) requeue(ctx context.Context) (waited bool, err error) {
	if p.allow(turnTime) {
		p.contend()
		return false, nil
	}
	p.turn = nil
	row := p.row()
	if turn, ok := p.lines.queue.Try(row); ok {
		p.contend()
		p.start(turn)
		return false, nil
	}
	return true, p.wait(ctx, row)
}

// allow gives a turn that has not run out yet so much more time.
func (p *place) allow(d time.Duration) bool {
	if p.turn == nil || !p.timer.Stop() {
		return false
	}
	p.timer.Reset(d)
	return true
}

// leave lets the next one in.
func (p *place) leave() {
	if p.turn != nil {
		p.timer.Stop()
		p.turn.Done()
	}
	if p.contended {
		p.lines.contenders.Add(-1)
	}
}

func (p *place) wait(ctx context.Context, row string) error {
	p.contend()
	turn, err := p.lines.queue.Wait(ctx, row)
	if err == nil {
		p.start(turn)
	}
	return err
}

func (p *place) start(turn *keyqueue.Turn[string]) {
	p.turn = turn
	p.timer = time.AfterFunc(turnTime, turn.Done)
}

// contend makes newcomers look at the lines.
func (p *place) contend() {
	if !p.contended {
		p.contended = true
		p.lines.contenders.Add(1)
	}
}

// row names the row. If two rows have one name they only wait for each other without need.
func (p *place) row() string {
	text, _ := rowkey.Text(p.key)
	return text
}
