package atomic

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// batch is calls that go together, and how far they have got.
type batch struct {
	calls   []*call
	leader  *call
	settled int // so many of the calls, from the first, have an outcome; the leader's alone

	mu   sync.Mutex
	told int // so many of the callers have been woken
}

// tell wakes the callers of the calls that are settled, except the leader, who does it.
func (b *batch) tell() { b.wake(b.settled, answered) }

// abandon wakes those who still wait.
func (b *batch) abandon() { b.wake(len(b.calls), abandoned) }

func (b *batch) wake(upTo int, s signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; b.told < upTo; b.told++ {
		if c := b.calls[b.told]; c != b.leader {
			c.wake <- s
		}
	}
}

// batchSQL is what carries out the plans for one column, in one server's SQL.
type batchSQL struct {
	scale
	add, take guardedUpdate     // the amount, then the span in which they hold
	read      dialect.Statement // selects the value
	readLock  dialect.Statement // the same, and locks the row until the end of the transaction
	writeLock string            // must come before that
}

func (c *Coalescer[N]) statements(ctx context.Context) (*batchSQL, error) {
	return c.sql.Of(ctx, c.counter.t, func(_ context.Context, _ txn.Runner, s dialect.Server) (*batchSQL, error) {
		return c.counter.buildBatch(s, scaleOf[N](s))
	})
}

func (c *column) buildBatch(s dialect.Server, sc scale) (*batchSQL, error) {
	col, how := s.Quote(c.name), c.howToReturn(s)
	param := func(i int) string { return s.Amount(c.number, len(c.t.Key)+i) }
	held := s.Numeric(c.number, c.name)
	within := held + " >= " + param(2) + " AND " + held + " <= " + param(3)
	read := "SELECT " + col + " FROM " + s.Quote(c.t.Name) + " WHERE " + s.Equals(c.t.Key, 1)
	lock, err := s.LockClause(dialect.ForUpdate, dialect.Wait)
	q := &batchSQL{
		scale:     sc,
		add:       c.guard(s, col+" + "+param(1), within, how, ErrLimit),
		take:      c.guard(s, col+" - "+param(1), within, how, ErrInsufficient),
		read:      s.Compile(read).WithLiterals(),
		readLock:  s.Compile(read + lock).WithLiterals(),
		writeLock: s.WriteLock(c.t.Name),
	}
	for _, u := range []*guardedUpdate{&q.add, &q.take} {
		u.statement = u.statement.WithLiterals()
	}
	return q, err
}

// maxMisses is how often a batch may find that another process has just changed the row in a way that matters. Then it
// locks the row.
const maxMisses = 3

var errMissed = errors.New("the row keeps changing")

// settle answers the first calls, as many as go into one statement, and returns how many. It keeps m up to date.
func (c *Coalescer[N]) settle(ctx context.Context, key Key, calls []*call, m *memory) (answered int) {
	q, err := c.statements(ctx)
	if err != nil {
		return answer(calls, err)
	}
	var p plan
	err = c.counter.t.Statement(ctx, nil, func(r txn.Runner) (err error) {
		p, err = c.try(ctx, r, q, key, calls, m)
		return err
	})
	if errors.Is(err, errMissed) {
		err = c.counter.t.Transaction(ctx, nil, func(r txn.Runner) (err error) {
			p, err = c.tryLocked(ctx, r, q, key, calls, m)
			return err
		})
	}
	switch {
	case err == nil && p.calls == 0:
		return c.oneByOne(ctx, key, calls[:1], m)
	case err == nil:
		return answer(calls[:p.calls], nil)
	}
	*m = memory{}
	switch {
	case p.calls == 0:
		return answer(calls, err)
	case refusedByServer(err):
		return c.oneByOne(ctx, key, calls[:p.calls], m)
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		return answer(calls[:p.calls], err)
	}
	return answer(calls, err)
}

// try plans on what the row held last, and carries that out in one statement if it holds that still, or anything for
// which the plan is right. Otherwise it looks and plans again.
func (c *Coalescer[N]) try(
	ctx context.Context, r txn.Runner, q *batchSQL, key Key, calls []*call, m *memory,
) (p plan, err error) {
	known, fresh, misses := *m, false, 0
	if !m.known {
		known = q.suppose(calls)
	}
	for {
		p = q.plan(calls, known)
		if p.calls == 0 || p.by == 0 && fresh {
			// Nothing to write: the row held this after all of the calls had arrived.
			return p, nil
		}
		if p.by != 0 {
			done, err := c.carryOut(ctx, r, q, key, p, calls, m)
			if done || err != nil {
				return p, err
			}
			if misses++; misses == maxMisses {
				return p, errMissed
			}
		}
		if err := c.look(ctx, r, q.read, key, m); err != nil {
			return p, err
		}
		known, fresh = *m, true
	}
}

// tryLocked does the same in a transaction that keeps others away from the row.
func (c *Coalescer[N]) tryLocked(
	ctx context.Context, r txn.Runner, q *batchSQL, key Key, calls []*call, m *memory,
) (p plan, err error) {
	if q.writeLock != "" {
		if _, err := r.Exec(ctx, q.writeLock); err != nil {
			return p, err
		}
	}
	if err := c.look(ctx, r, q.readLock, key, m); err != nil {
		return p, err
	}
	p = q.plan(calls, *m)
	if p.by == 0 {
		return p, nil
	}
	done, err := c.carryOut(ctx, r, q, key, p, calls, m)
	if err == nil && !done {
		err = errMissed
	}
	return p, err
}

func (c *Coalescer[N]) look(ctx context.Context, r txn.Runner, query dialect.Statement, key Key, m *memory) error {
	var value sql.Null[N]
	text, args := query.Bind(key)
	err := r.Read(ctx, text, args, &value)
	switch {
	case err != nil:
		return err
	case !value.Valid:
		return errNull
	}
	m.learn(levelOf(value.V))
	return nil
}

// carryOut makes the change of a plan if it is right for what the row holds. The calls' levels are then those that the
// row really passed.
func (c *Coalescer[N]) carryOut(
	ctx context.Context, r txn.Runner, q *batchSQL, key Key, p plan, calls []*call, m *memory,
) (done bool, err error) {
	g := &q.add
	if p.down {
		g = &q.take
	}
	args := arguments(key, q.param(q.zero+level(p.by)), q.param(p.from.low), q.param(p.from.high))
	value, done, err := update[N](ctx, r, &c.counter.column, g, args)
	if err != nil || !done {
		return false, err
	}
	end := levelOf(value)
	start := end - level(p.by)
	if p.down {
		start = end + level(p.by)
	}
	for _, c := range calls[:p.calls] {
		c.level += start - p.start
	}
	m.learn(start)
	m.learn(end)
	return true, nil
}

// refusedByServer reports whether the server refused what the batch as a whole would have written. It may still take
// some of the calls.
func refusedByServer(err error) bool {
	const couldBeData = sqlerr.Server | sqlerr.OutOfRange | sqlerr.Check | sqlerr.Unique
	m := sqlerr.Of(err)
	return m.Has(sqlerr.Server) && m&^couldBeData == 0 && !errors.Is(err, nogap.ErrOutcomeUnknown)
}

// oneByOne makes the calls on the Counter.
func (c *Coalescer[N]) oneByOne(ctx context.Context, key Key, calls []*call, m *memory) (answered int) {
	for _, own := range calls {
		own.alone = true
		value, err := c.single(ctx, own.wish, key)
		own.level, own.err = levelOf(value), err
		if err == nil || errors.As(err, new(*RefusedError)) {
			m.learn(own.level)
		} else {
			*m = memory{}
		}
	}
	return len(calls)
}

func answer(calls []*call, err error) (answered int) {
	for _, c := range calls {
		c.err = err
	}
	return len(calls)
}
