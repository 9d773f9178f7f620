package atomic_test

import (
	"context"
	stdatomic "sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// coalesce returns a Coalescer of the column stock of a fakeRow.
func coalesce(t *testing.T, row *fakeRow, opts ...atomic.CoalesceOption) *atomic.Coalescer[int64] {
	t.Helper()
	db := fakedb.Open(row.handle)
	t.Cleanup(func() { db.Close() })
	counter, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	return atomic.Coalesce(counter, opts...)
}

// crowd is callers of one row, who make their calls one after the other, while the first statement is held up.
type crowd struct {
	t       *testing.T
	row     *fakeRow
	c       *atomic.Coalescer[int64]
	release chan struct{} // lets the first statement go on
	answers []*answer
}

type answer struct {
	result
	err  error
	done stdatomic.Bool
}

// gather returns a crowd whose first caller's statement is under way. Run it in a bubble of synctest.
func gather(t *testing.T, row *fakeRow, opts ...atomic.CoalesceOption) *crowd {
	t.Helper()
	crowd := &crowd{t: t, row: row, release: make(chan struct{})}
	before := row.before
	row.before = func(ctx context.Context, c fakedb.Call) error {
		if c.Kind == fakedb.Query {
			select {
			case <-crowd.release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if before != nil {
			return before(ctx, c)
		}
		return nil
	}
	crowd.c = coalesce(t, row, opts...)
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
