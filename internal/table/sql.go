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

// Of returns the S of t. When it is asked for first, or building it has failed before, the server is asked what it is,
// and build is called, which may ask more, over r. That is the transaction to which t is bound or a connection of the
// call's own. Only success is kept, and nothing that a transaction on another *sql.DB has said. Calls that come first at
// the same time may each build; all get the same S.
func (q *SQL[S]) Of(ctx context.Context, t *Table, build func(ctx context.Context, r txn.Runner, s dialect.Server) (*S, error)) (*S, error) {
	if s := q.built.Load(); s != nil && !t.foreign {
		return s, t.checkTx(ctx)
	}
	var built *S
	err := t.Statement(ctx, nil, func(r txn.Runner) error {
		server, err := t.Server(ctx, r)
		if err == nil {
			err = t.checkAborts(ctx, server)
		}
		if err == nil {
			err = t.checkWriting(ctx, r, server)
		}
		if err == nil {
			built, err = build(ctx, r, server)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if t.foreign {
		return built, nil
	}
	q.built.CompareAndSwap(nil, built)
	return q.built.Load(), nil
}
