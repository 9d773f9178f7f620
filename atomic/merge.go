package atomic

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic/internal/plan"
	"github.com/nogap-go/nogap/internal/combine"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// merger carries out the calls of a Coalescer: one alone as the Counter does, several in one statement.
type merger[N Integer] struct {
	counter *Counter[N]
	sql     table.SQL[mergedSQL]
	joint   table.SQL[togetherSQL]
	never   atomic.Bool // several rows are not carried out together
}

// mergedSQL is what carries out plans for one column, in one server's SQL.
type mergedSQL struct {
	plan.Scale
	add, subtract guardedUpdate     // the amount, then the span in which they hold
	read          dialect.Statement // selects the value
	readLock      dialect.Statement // the same, and locks the row until the end of the transaction
	writeLock     string            // must come before that, unless it is empty
	apart         bool              // what is stored may not be what the plan says, so no calls are merged
}

func (m *merger[N]) statements(ctx context.Context) (*mergedSQL, error) {
	c := &m.counter.column
	return m.sql.Of(ctx, c.t, func(_ context.Context, _ txn.Runner, s dialect.Server, look dialect.Look) (*mergedSQL, error) {
		if err := c.checkLook(look); err != nil {
			return nil, err
		}
		// Elsewhere there are no such columns, and no such parameters of the drivers.
		q, err := c.merged(s, plan.ScaleOf[N](c.number == dialect.Signed, s.Unsigned64))
		if err == nil {
			q.apart = look.Rewrites
		}
		return q, err
	})
}

func (c *column) merged(s dialect.Server, sc plan.Scale) (*mergedSQL, error) {
	col, how := s.Quote(c.name), c.howToReturn(s)
	param := func(i int) string { return s.Amount(c.number, len(c.t.Key)+i) }
	held := s.Numeric(c.number, c.name)
	within := held + " >= " + param(2) + " AND " + held + " <= " + param(3)
	read := "SELECT " + col + " FROM " + s.Quote(c.t.Name) + " WHERE " + s.Equals(c.t.Key, 1)
	lock, err := s.LockClause(dialect.ForUpdate, dialect.Wait)
	q := &mergedSQL{
		Scale:     sc,
		add:       c.guard(s, col+" + "+param(1), within, how, ErrLimit),
		subtract:  c.guard(s, col+" - "+param(1), within, how, ErrInsufficient),
		read:      s.Compile(read).WithLiterals(),
		readLock:  s.Compile(read + lock).WithLiterals(),
		writeLock: s.WriteLock(c.t.Name),
	}
	for _, u := range []*guardedUpdate{&q.add, &q.subtract} {
		u.statement = u.statement.WithLiterals()
	}
	return q, err
}

// Alone makes the call on the Counter.
func (m *merger[N]) Alone(ctx context.Context, key []any, call *plan.Call, known *plan.Known) {
	var op observe.Op
	began := time.Now()
	n, _ := plan.To[N](call.N) // which came from an N
	limit, _ := plan.To[N](call.Limit)
	value, err := onCounter(ctx, &op, m.counter, call.Op, n, limit, key)
	call.Apart, call.Level, call.Err = true, plan.Of(value), err
	call.Trace = &combine.Trace{Began: began, Calls: 1, Attempts: op.Attempts()}
	if err == nil || errors.As(err, new(*RefusedError)) {
		known.Learn(call.Level)
	} else {
		*known = plan.Known{}
	}
}

// oneByOne makes the calls on the Counter.
func (m *merger[N]) oneByOne(ctx context.Context, key []any, calls []*plan.Call, known *plan.Known) (done int) {
	for _, call := range calls {
		m.Alone(ctx, key, call, known)
	}
	return len(calls)
}

// maxMisses is how often a batch may find that another process has just changed the row in a way that matters. Then it
// locks the row.
const maxMisses = 3

var errMissed = errors.New("the row keeps changing")

// Batch carries out the first calls, as many as go into one statement. It keeps known up to date.
func (m *merger[N]) Batch(ctx context.Context, key []any, calls []*plan.Call, known *plan.Known) (done int) {
	var op observe.Op
	began := time.Now()
	defer func() {
		trace := &combine.Trace{Began: began, Calls: done, Attempts: op.Attempts()}
		for _, call := range calls[:done] {
			if !call.Apart {
				call.Trace = trace
			}
		}
	}()
	ctx = txn.Impatient(ctx) // the callers' Timeout, not that of one who waits for an answer
	q, err := m.statements(ctx)
	if err != nil {
		return failAll(calls, err)
	}
	if q.apart {
		return m.oneByOne(ctx, key, calls, known)
	}
	b := batch[N]{mergedSQL: q, column: &m.counter.column, key: key, calls: calls, known: known}
	err = m.counter.t.Statement(ctx, &op, func(r txn.Runner) error { return b.try(ctx, r) })
	if errors.Is(err, errMissed) {
		err = m.counter.t.LockAndWrite(ctx, &op, func(r txn.Runner) error { return b.tryLocked(ctx, r) })
	}
	planned := calls[:b.plan.Calls]
	switch {
	case err == nil && len(planned) == 0, m.counter.creates && isMissing(err): // until a call has inserted the row
		return m.oneByOne(ctx, key, calls[:1], known)
	case err == nil:
		return len(planned)
	}
	*known = plan.Known{}
	switch {
	case len(planned) == 0:
		return failAll(calls, err)
	case txn.RefusedByServer(err):
		return m.oneByOne(ctx, key, planned, known)
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		return failAll(planned, err)
	}
	return failAll(calls, err)
}

func failAll(calls []*plan.Call, err error) (done int) {
	for _, c := range calls {
		c.Err = err
	}
	return len(calls)
}

// batch is calls of which as many as can be are made by one statement.
type batch[N Integer] struct {
	*mergedSQL
	column *column
	key    []any
	calls  []*plan.Call
	known  *plan.Known
	plan   plan.Plan // the last one
}

// try plans on what the row held last, and carries that out in one statement if it holds that still, or anything for
// which the plan is right. Otherwise it looks and plans again.
func (b *batch[N]) try(ctx context.Context, r txn.Runner) error {
	for misses, fresh := 0, false; ; fresh = true {
		b.plan = b.Make(b.calls, *b.known)
		switch {
		case b.plan.Calls == 0 || b.plan.By == 0 && fresh:
			// Nothing to write: the row held this after all of the calls had arrived.
			return nil
		case b.plan.By != 0:
			if done, err := b.carryOut(ctx, r); done || err != nil {
				return err
			}
			if misses++; misses == maxMisses {
				return errMissed
			}
		}
		if err := b.look(ctx, r, b.read); err != nil {
			return err
		}
	}
}

// tryLocked does the same in a transaction that keeps others away from the row.
func (b *batch[N]) tryLocked(ctx context.Context, r txn.Runner) error {
	b.plan = plan.Plan{}
	if b.writeLock != "" {
		if _, err := r.Exec(ctx, b.writeLock); err != nil {
			return err
		}
	}
	if err := b.look(ctx, r, b.readLock); err != nil {
		return err
	}
	b.plan = b.Make(b.calls, *b.known)
	if b.plan.By == 0 {
		return nil
	}
	done, err := b.carryOut(ctx, r)
	if err == nil && !done {
		err = errHeldBack
	}
	return err
}

func (b *batch[N]) look(ctx context.Context, r txn.Runner, query dialect.Statement) error {
	var value sql.Null[N]
	text, args := query.Bind(b.key)
	err := r.Read(ctx, text, args, &value)
	switch {
	case err != nil:
		return err
	case !value.Valid:
		return errNull
	}
	b.known.Learn(plan.Of(value.V))
	return nil
}

// carryOut makes the change of the plan if it is right for what the row holds. The calls' levels are then those that the
// row really passed.
func (b *batch[N]) carryOut(ctx context.Context, r txn.Runner) (done bool, err error) {
	p, u := b.plan, &b.add
	if p.Down {
		u = &b.subtract
	}
	by := plan.Level(p.By)
	args := arguments(b.key, b.Param(b.Zero+by), b.Param(p.From.Low), b.Param(p.From.High))
	value, done, err := update[N](ctx, r, b.column, u, args)
	if err != nil || !done {
		return false, err
	}
	end := plan.Of(value)
	start := end - by
	if p.Down {
		start = end + by
	}
	p.Shift(b.calls, start)
	b.known.Learn(start)
	b.known.Learn(end)
	return true, nil
}
