package table

import (
	"context"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// SQL is what a user package says to one table, in the SQL of its server: an S, which is built once the server is known.
// The zero SQL has nothing built yet. It must not be copied; Tables that are bound to transactions share it.
type SQL[S any] struct{ built atomic.Pointer[S] }

// Build makes an S for a server, and for what it says of the table. It may ask more, over r.
type Build[S any] func(ctx context.Context, r txn.Runner, s dialect.Server, look dialect.Look) (*S, error)

// Of returns the S of t. When it is asked for first, or building it has failed before, the server is asked what it is and
// what the table is, and build is called. What it is given as r is the transaction to which t is bound, or a connection of
// the call's own, whose session must commit by itself: in the caller's transaction the caller does. Only success is kept,
// and nothing that a transaction on another *sql.DB has said, or that other sessions may not be told. Calls that come first
// at the same time may each build; all get the same S.
func (q *SQL[S]) Of(ctx context.Context, t *Table, build Build[S]) (*S, error) {
	built := q.built.Load()
	if built != nil && !t.foreign && (t.inTx || t.known.session.Commits()) {
		return built, t.txErr
	}
	keep := false
	err := t.Statement(ctx, nil, func(r txn.Runner) error {
		server, err := t.Server(ctx, r)
		if err == nil && !t.inTx {
			err = t.known.session.Check(ctx, r, server)
		}
		if err != nil || built != nil && !t.foreign {
			return err
		}
		built, keep, err = q.build(ctx, t, r, server, build)
		return err
	})
	if err != nil {
		return nil, err
	}
	if keep && !t.foreign {
		q.built.CompareAndSwap(nil, built)
		return q.built.Load(), nil
	}
	return built, nil
}

// build builds an S. keep says that it is that of other sessions, too.
func (q *SQL[S]) build(ctx context.Context, t *Table, r txn.Runner, s dialect.Server, build Build[S]) (built *S, keep bool, err error) {
	if err := t.checkWriting(ctx, r, s); err != nil {
		return nil, false, err
	}
	look, err := t.Look(ctx, r, s)
	if err != nil {
		return nil, false, err
	}
	built, err = build(ctx, r, s, look)
	return built, look.Lasts, err
}
