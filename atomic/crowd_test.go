package atomic_test

import (
	"context"
	stdatomic "sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// coalesce returns a Coalescer of the column stock of a server, such as a fakeRow.
func coalesce[N atomic.Integer](t *testing.T, server fakedb.Handler, opts ...atomic.CoalesceOption) *atomic.Coalescer[N] {
	t.Helper()
	db := fakedb.Open(server)
	t.Cleanup(func() { db.Close() })
	return atomic.Coalesce(newStock[N](t, db), opts...)
}

// crowd is callers of one row, who make their calls one after the other, while the first statement is held up. The time
// in which it lives is that of a bubble of synctest: there a sleep costs nothing, and is exact.
type crowd struct {
	t       *testing.T
	c       *atomic.Coalescer[int64]
	release chan struct{} // lets the first statement go on
	answers []*answer
}

type answer struct {
	result
	err  error
	done stdatomic.Bool
}

// gather returns a crowd whose first caller's statement is under way.
func gather(t *testing.T, row *fakeRow, opts ...atomic.CoalesceOption) *crowd {
	t.Helper()
	crowd := &crowd{t: t, release: make(chan struct{})}
	crowd.c = coalesce[int64](t, func(ctx context.Context, call fakedb.Call) (fakedb.Reply, error) {
		if call.Kind == fakedb.Query {
			select {
			case <-crowd.release:
			case <-ctx.Done():
				return fakedb.Reply{}, ctx.Err()
			}
		}
		return row.handle(ctx, call)
	}, opts...)
	crowd.call(t.Context(), request{op: 2, n: 0})
	return crowd
}

// call makes a call and returns when it waits, or is done.
func (c *crowd) call(ctx context.Context, r request) *answer {
	a := &answer{}
	c.answers = append(c.answers, a)
	go func() {
		v, err := r.call(ctx, c.c)
		a.result, a.err = resultOf(v, err), err
		a.done.Store(true)
	}()
	synctest.Wait()
	return a
}

// more has n more callers take one each.
func (c *crowd) more(n int) {
	for range n {
		c.call(c.t.Context(), takeOne)
	}
}

// goOn lets the statements go, and returns when all callers have their answers.
func (c *crowd) goOn() {
	c.t.Helper()
	close(c.release)
	synctest.Wait()
	for i, a := range c.answers {
		require.True(c.t, a.done.Load(), "caller %d", i)
	}
	require.Zero(c.t, c.c.Rows(), "a row that nobody wants is forgotten")
}

var takeOne = request{op: 0}

func take(n int64) request { return request{op: 1, n: n} }

func bubble(name string, t *testing.T, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
