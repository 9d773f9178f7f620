package transaction

import (
	"context"
	"database/sql"
	"time"

	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/txn"
)

// A turn is advice, not a lock. It is given up after ten times what the lost attempt took, and waited for for sixty times
// that: on PostgreSQL a deadlock costs a second (deadlock_timeout), during which the others must stay out of the way. Both
// are bounded, the wait by a minute: the transaction may be a long one, or wait for a lock that only one of those in the line
// could release.
const (
	turnFactor, shortestTurn, longestTurn = 10, time.Second, 10 * time.Second
	waitFactor, longestWait               = 60, time.Minute
)

var queues perdb.Map[keyqueue.Queue[struct{}]]

// losers lets the calls of one process whose transactions lost against others run their next attempts one after another.
type losers struct {
	db     *sql.DB
	policy txn.Policy
	begun  time.Time // the last attempt
	op     *observe.Op
	turn   *keyqueue.Turn[struct{}]
	limit  *time.Timer
}

// begin notes that an attempt begins.
func (l *losers) begin() { l.begun = time.Now() }

// pause waits as the policy says after n failed attempts, and then for the turn, no longer than the factor says: if the attempt
// was short, as long as the policy's longest wait. In a callback of nogap it does not wait for the turn, which may belong to
// somebody who waits for what that callback has locked.
func (l *losers) pause(ctx context.Context, n int) error {
	lost := time.Since(l.begun)
	l.done()
	if err := l.policy.Wait(ctx, n); err != nil || holding.Within(ctx) {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, min(max(waitFactor*lost, l.policy.LongestWait()), longestWait))
	defer cancel()
	start := time.Now()
	turn, err := queues.Of(l.db, nil).Wait(limited, struct{}{})
	if err != nil || !turn.Immediate() {
		l.op.Waited(time.Since(start))
	}
	if err == nil {
		l.turn, l.limit = turn, time.AfterFunc(min(max(turnFactor*lost, shortestTurn), longestTurn), func() { turn.Done() })
	}
	return ctx.Err()
}

// done ends the turn.
func (l *losers) done() {
	if l.turn != nil {
		l.limit.Stop()
		l.turn.Done()
		l.turn = nil
	}
}
