package table

import (
	"context"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/oneatatime"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// SQL is what a user package says to one table, in the SQL of its server: an S, which is built once the server is known.
// The zero SQL has nothing built yet. It must not be copied; Tables that are bound to transactions share it.
type SQL[S any] struct {
	built atomic.Pointer[S]
	early atomic.Bool // built is from a look that came first in a transaction; the pool's first call looks again
	// looking is for calls on the pool. In a transaction nobody waits for it, who may hold what the look of another waits for.
	looking oneatatime.Turn
	differs atomic.Bool // what is built is not kept, so that calls need not wait for each other
}

// Build makes an S for a server, and for what it says of the table. It may ask more, over r.
type Build[S any] func(ctx context.Context, r txn.Runner, s dialect.Server, look dialect.Look) (*S, error)

// Of returns the S of t. When it is asked for first, or building it has failed before, the server is asked what it is and
// what the table is, and build is called. What it is given as r is the transaction to which t is bound, or a connection of
// the call's own, whose session must commit by itself: in the caller's transaction the caller does. Only success is kept,
// and nothing that a transaction on another *sql.DB has said, or that other sessions may not be told. Of the calls on
// the pool that come first at the same time one builds, and the others wait for it; in transactions each may build. All get the
// same S.
func (q *SQL[S]) Of(ctx context.Context, t *Table, build Build[S]) (*S, error) {
	built, known := q.known(t)
	if known {
		return built, t.checkTx(ctx)
	}
	err := t.Statement(ctx, nil, func(r txn.Runner) error {
		if !t.inTx && !q.differs.Load() {
			done, err := q.looking.Take(ctx)
			if err != nil {
				return err
			}
			defer done()
			if built, known = q.known(t); known {
				return nil
			}
		}
		server, err := t.Server(ctx, r)
		switch {
		case err != nil:
		case t.inTx:
			err = t.checkAborts(ctx, server)
		default:
			err = t.known.session.Check(ctx, r, server)
		}
		if err != nil || built != nil && !t.foreign && !q.early.Load() {
			return err
		}
		var look dialect.Look
		built, look, err = q.build(ctx, t, r, server, build)
		if err == nil && !t.foreign {
			built = q.keep(built, look)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return built, nil
}

// known returns what is built, and whether t needs no more.
func (q *SQL[S]) known(t *Table) (built *S, known bool) {
	built = q.built.Load()
	return built, built != nil && !t.foreign && (t.inTx || t.known.session.Commits() && !q.early.Load())
}

// keep keeps what is built, unless other sessions may be told otherwise, and returns what all get.
func (q *SQL[S]) keep(built *S, look dialect.Look) *S {
	if !look.Lasts {
		q.differs.Store(true)
		return built
	}
	if q.built.CompareAndSwap(nil, built) {
		q.early.Store(look.Early)
	} else if !look.Early && q.early.CompareAndSwap(true, false) {
		q.built.Store(built)
	}
	return q.built.Load()
}

// build builds an S, and returns the look at the table.
func (q *SQL[S]) build(ctx context.Context, t *Table, r txn.Runner, s dialect.Server, build Build[S]) (built *S, look dialect.Look, err error) {
	if lock := s.WriteLock(dialect.Ident{}); t.inTx && lock != "" {
		// The look reads, and a transaction that has read does not wait for the write lock any more. If the lock can't be
		// had, the statement to come says so; if the lock was interrupted, there may be no transaction any more.
		_, err = r.Exec(ctx, lock)
		if m := sqlerr.Of(err); err != nil && m != sqlerr.Server && !m.Has(sqlerr.Retry) {
			return nil, look, err
		}
	}
	if look, err = t.look(ctx, r, s, t.inTx); err == nil {
		err = t.checkWriting(ctx, r, s)
	}
	if err == nil {
		if s, err = s.Strictly(look.StrictMode); err != nil {
			return nil, look, &Obstacle{Reason: err.Error()}
		}
		built, err = build(ctx, r, s, look)
	}
	return built, look, err
}
