package atomic

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic/internal/plan"
	"github.com/nogap-go/nogap/internal/combine"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// row is the batch of one row of several that share a transaction.
type row = combine.Row[plan.Call, plan.Known]

// togetherSQL is what carries out the plans for several rows in one transaction.
type togetherSQL struct {
	plan.Scale
	server dialect.Server
	many   *dialect.ManyRows // nil if each row has to have its own statement
}

// together returns what carries out several rows. The server is asked for the types of the key columns, once.
func (m *merger[N]) together(ctx context.Context) (*togetherSQL, error) {
	c := &m.counter.column
	return m.joint.Of(ctx, c.t, func(ctx context.Context, r txn.Runner, s dialect.Server, look dialect.Look) (*togetherSQL, error) {
		if err := c.checkLook(look); err != nil {
			return nil, err
		}
		q := &togetherSQL{Scale: plan.ScaleOf[N](c.number == dialect.Signed, s.Unsigned64), server: s}
		if look.Rewrites || look.Unlockable || !look.Listed || !look.Lasts {
			return q, nil
		}
		types := make([]string, len(c.t.Key))
		for i := range c.t.Key {
			key, err := s.Look(ctx, r, c.t.Name, dialect.Question{Version: &c.t.Key[i]})
			if err != nil {
				return nil, err
			}
			types[i] = key.Type
		}
		many, ok := s.ManyRows(c.t.Name, c.name, c.t.Key, types, c.number, countUp(s, c.version))
		if !ok || many.Returns && !look.Returns { // a trigger may store something else, or the rows are elsewhere
			return q, nil
		}
		var apart int
		query, args := s.OneByOne(c.t.Name)
		if err := r.Read(ctx, query.Text, query.Args(args), &apart); err != nil || apart > 0 {
			return q, err
		}
		if query, args, needed := s.KeyIndex(c.t.Name, c.t.Key); needed {
			var name string
			err := r.Read(ctx, query.Text, query.Args(args), &name)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				return q, nil
			case err != nil:
				return nil, err
			}
			index, err := dialect.Column(name)
			if err != nil {
				return nil, err
			}
			many.By(index)
		}
		q.many = many
		return q, nil
	})
}

// longestKey is how many bytes of text a key value may have in a transaction of several rows.
const longestKey = 256

// Detach returns a key of integers and text, as the driver would send it.
func (m *merger[N]) Detach(key []any) (detached []any, ok bool) {
	if m.never.Load() {
		return nil, false
	}
	detached = make([]any, len(key))
	for i, v := range key {
		plain, err := driver.DefaultParameterConverter.ConvertValue(v)
		if err != nil {
			return nil, false
		}
		switch p := plain.(type) {
		case int64:
		case string:
			if len(p) > longestKey || !utf8.ValidString(p) || strings.Contains(p, "\x00") {
				return nil, false // the server would refuse it, and all others with it
			}
		default:
			return nil, false
		}
		detached[i] = plain
	}
	return detached, true
}

// Together carries out the batches of several rows in one transaction. A row that it can't lock at once, or that it does not
// find, is left out, and so are all if the transaction has failed for sure.
func (m *merger[N]) Together(ctx context.Context, rows []*row) (worked bool) {
	began := time.Now()
	ctx = txn.Impatient(ctx)
	q, err := m.together(ctx)
	if err != nil {
		return false // what is wrong, each batch is told
	}
	if q.many == nil {
		m.never.Store(true)
		return false
	}
	g := joint[N]{togetherSQL: q}
	for _, r := range rows {
		if q.many.Fits(r.Key) {
			g.rows = append(g.rows, plannedRow{row: r})
		}
	}
	if len(g.rows) == 0 {
		return false
	}
	err = m.counter.t.LockAndWriteMany(ctx, q.server, func(tx *sql.Tx) error { return g.try(ctx, tx) })
	return g.end(began, err)
}

// joint is several rows that share a transaction.
type joint[N Integer] struct {
	*togetherSQL
	rows []plannedRow
}

// plannedRow is a row and what becomes of its calls: of the first plan.Calls. If there are none, it is left out.
type plannedRow struct {
	*row
	plan plan.Plan
}

// level returns what the plan leaves in the row.
func (p *plannedRow) level() plan.Level {
	if p.plan.Down {
		return p.plan.Start - plan.Level(p.plan.By)
	}
	return p.plan.Start + plan.Level(p.plan.By)
}

// errStoredOtherwise: the server has stored something else than the plans say, or in other rows. It is never seen by a caller.
var errStoredOtherwise = errors.New("the rows do not hold what was written")

// try locks the rows, plans on what they hold, and writes what they shall hold.
func (g *joint[N]) try(ctx context.Context, tx *sql.Tx) error {
	if err := g.lock(ctx, tx); err != nil {
		return err
	}
	var changed []*plannedRow
	var keys [][]any
	var values []any
	for i := range g.rows {
		p := &g.rows[i]
		if p.plan.By != 0 {
			changed, keys, values = append(changed, p), append(keys, p.Key), append(values, g.Param(p.level()))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	text, args := g.many.Set(keys, values)
	if !g.many.Returns {
		return g.set(ctx, tx, text, args, len(changed))
	}
	stored := make([]bool, len(changed))
	n := 0
	err := g.read(ctx, tx, text, args, len(changed), func(i int, l plan.Level, ok bool) error {
		if !ok || stored[i] || l != changed[i].level() {
			return errStoredOtherwise
		}
		stored[i] = true
		n++
		return nil
	})
	if err == nil && n != len(changed) {
		err = errStoredOtherwise
	}
	return err
}

// set writes n rows. The server tells how many it has changed.
func (g *joint[N]) set(ctx context.Context, tx *sql.Tx, text string, args []any, n int) error {
	res, err := txn.In(tx).Exec(ctx, text, args...)
	if err != nil {
		return err
	}
	if changed, err := res.RowsAffected(); err != nil || changed != int64(n) {
		return errStoredOtherwise
	}
	return nil
}

// lock locks the rows, and plans on what they hold. What is planned on none is left out: a row that is not there, that
// somebody else has locked, whose value is NULL or none of N, or whose key others have too.
func (g *joint[N]) lock(ctx context.Context, tx *sql.Tx) error {
	keys := make([][]any, len(g.rows))
	for i := range g.rows {
		keys[i] = g.rows[i].Key
	}
	found := make([]bool, len(g.rows))
	text, args := g.many.Lock(keys)
	return g.read(ctx, tx, text, args, len(keys), func(i int, l plan.Level, ok bool) error {
		p := &g.rows[i]
		if found[i] || !ok {
			found[i], p.plan = true, plan.Plan{}
			return nil
		}
		found[i] = true
		p.Known.Learn(l)
		p.plan = g.Make(p.Calls, *p.Known)
		return nil
	})
}

// read runs a statement that returns the numbers of keys, of which there are n, and values. It tells each, its number from 0,
// and whether N has the value.
func (g *joint[N]) read(
	ctx context.Context, tx *sql.Tx, text string, args []any, n int, tell func(i int, l plan.Level, ok bool) error,
) error {
	return txn.ReadAll(ctx, tx, text, args, func(scan func(...any) error) error {
		var number int
		var stored any
		if err := scan(&number, &stored); err != nil {
			return err
		}
		if number < 1 || number > n {
			return errStoredOtherwise
		}
		var value sql.Null[N]
		err := value.Scan(stored)
		return tell(number-1, plan.Of(value.V), err == nil && value.Valid)
	})
}

// end tells the calls what came of the transaction, and reports whether it was of use. After an error that is not
// nogap.ErrOutcomeUnknown nothing was written, and all rows are left out.
func (g *joint[N]) end(began time.Time, err error) (worked bool) {
	unknown := errors.Is(err, nogap.ErrOutcomeUnknown)
	if err != nil && !unknown {
		return false
	}
	trace := &combine.Trace{Began: began, Attempts: 1}
	for i := range g.rows {
		trace.Calls += g.rows[i].plan.Calls
	}
	for i := range g.rows {
		p := &g.rows[i]
		p.Done = p.plan.Calls
		for _, c := range p.Calls[:p.Done] {
			c.Trace = trace
		}
		switch {
		case p.plan.By == 0: // what was read tells all
		case unknown:
			failAll(p.Calls[:p.Done], err)
			*p.Known = plan.Known{}
		default:
			p.Known.Learn(p.level())
		}
	}
	return !unknown && (trace.Calls > 0 || len(g.rows) == 1)
}
