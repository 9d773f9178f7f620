package optimistic

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/rowkey"
)

// How long the others in the queue wait for one caller. The end of these times makes no write less safe, since the
// condition on the version protects all of them; it keeps a callback that is slow, or that calls Modify itself, from
// holding up the queue for ever.
const (
	turnTime     = time.Second
	callbackTime = 100 * time.Millisecond
)

// rowQueue is where callers of one process queue for rows that several of them write. Until a write has been lost nobody
// queues, and a caller only reads one number.
type rowQueue struct {
	turns keyqueue.Queue[string]
	// contenders counts the callers who queue, or have queued, because somebody else wrote their row.
	contenders atomic.Int64
}

// contender is one caller, who queues for its row or has not had to yet. It is not safe for concurrent use.
type contender struct {
	queue   *rowQueue
	key     []any
	op      *observe.Op
	turn    *keyqueue.Turn[string]
	timer   *time.Timer // ends the turn
	counted bool        // among the contenders
}

// enter lets a caller who has not lost yet go on, unless others queue for its row already. Then it waits behind them,
// instead of making the first of them lose.
func (c *contender) enter(ctx context.Context) error {
	if c.queue.contenders.Load() == 0 {
		return nil
	}
	row := c.row()
	if turn, ok := c.queue.turns.Try(row); ok {
		c.start(turn) // it is another row that is contended
		return nil
	}
	return c.wait(ctx, row)
}

// requeue gives a caller who has just lost the turn that it needs, unless it has it still. waited says that others were
// ahead.
func (c *contender) requeue(ctx context.Context) (waited bool, err error) {
	if c.extend(turnTime) {
		c.count()
		return false, nil
	}
	c.turn = nil
	row := c.row()
	if turn, ok := c.queue.turns.Try(row); ok {
		c.count()
		c.start(turn)
		return false, nil
	}
	return true, c.wait(ctx, row)
}

// extend gives a turn that has not run out yet so much more time.
func (c *contender) extend(d time.Duration) bool {
	if c.turn == nil || !c.timer.Stop() {
		return false
	}
	c.timer.Reset(d)
	return true
}

// leave lets the next one in.
func (c *contender) leave() {
	if c.turn != nil {
		c.timer.Stop()
		c.turn.Done()
	}
	if c.counted {
		c.queue.contenders.Add(-1)
	}
}

func (c *contender) wait(ctx context.Context, row string) error {
	c.count()
	since := time.Now()
	turn, err := c.queue.turns.Wait(ctx, row)
	c.op.Waited(time.Since(since))
	if err == nil {
		c.start(turn)
	}
	return err
}

func (c *contender) start(turn *keyqueue.Turn[string]) {
	c.turn = turn
	c.timer = time.AfterFunc(turnTime, func() { turn.Done() })
}

// count makes those who come later look at the queue.
func (c *contender) count() {
	if !c.counted {
		c.counted = true
		c.queue.contenders.Add(1)
	}
}

// row names the row. If two rows have one name they only wait for each other without need.
func (c *contender) row() string {
	text, _ := rowkey.Text(c.key)
	return text
}
