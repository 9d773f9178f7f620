package table

import (
	"context"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// SQL is what a user package says to one table, in the SQL of its server: an S, which is built once the server is known.
// The zero SQL has nothing built yet. It must not be copied; Tables that are bound to transactions share it.
type SQL[S any] struct {
	built atomic.Pointer[S]
	early atomic.Bool // built is from a look that came first in a transaction; the pool's first call looks again
}

// Build makes an S for a server, and for what it says of the table. It may ask more, over r.
type Build[S any] func(ctx context.Context, r txn.Runner, s dialect.Server, look dialect.Look) (*S, error)

// Of returns the S of t. When it is asked for first, or building it has failed before, the server is asked what it is and
// what the table is, and build is called. What it is given as r is the transaction to which t is bound, or a connection of
// the call's own, whose session must commit by itself: in the caller's transaction the caller does. Only success is kept,
// and nothing that a transaction on another *sql.DB has said, or that other sessions may not be told. Calls that come first
// at the same time may each build; all get the same S.
func (q *SQL[S]) Of(ctx context.Context, t *Table, build Build[S]) (*S, error) {
	built := q.built.Load()
	if built != nil && !t.foreign && (t.inTx || t.known.session.Commits() && !q.early.Load()) {
		return built, t.checkTx(ctx)
	}
	var look dialect.Look
	err := t.Statement(ctx, nil, func(r txn.Runner) error {
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
		built, look, err = q.build(ctx, t, r, server, build)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !look.Lasts || t.foreign {
		return built, nil
	}
	if q.built.CompareAndSwap(nil, built) {
		q.early.Store(look.Early)
	} else if !look.Early && q.early.CompareAndSwap(true, false) {
		q.built.Store(built)
	}
	return q.built.Load(), nil
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
