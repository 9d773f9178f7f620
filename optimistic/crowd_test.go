package optimistic_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// crowd is callers of row 42, who come one after the other while the first one's load is held up. It lives in a bubble of
// synctest.
type crowd struct {
	t       *testing.T
	shop    *shop
	hot     *optimistic.Coalescer[Item]
	release chan struct{} // lets the first load go on
	callers []*caller
}

type caller struct {
	item  *Item
	err   error
	panic any
	ran   int // how often its function ran
	done  atomic.Bool
}

// gather returns a crowd whose first caller is under way, and changes nothing.
func gather(t *testing.T, s *shop, opts ...optimistic.CoalesceOption) *crowd {
	t.Helper()
	return gatherAt(t, s, openItems(t, s, noWait), opts...)
}

// gatherAt is gather for a Table of the shop.
func gatherAt(t *testing.T, s *shop, items *optimistic.Table[Item], opts ...optimistic.CoalesceOption) *crowd {
	t.Helper()
	c := &crowd{t: t, shop: s, release: make(chan struct{})}
	before := s.before
	s.before = func(call fakedb.Call) error {
		if strings.HasPrefix(call.Query, `SELECT "id"`) {
			<-c.release
		}
		if before != nil {
			return before(call)
		}
		return nil
	}
	c.hot = optimistic.Coalesce(items, opts...)
	c.call(t.Context(), func(*Item) error { return nil })
	return c
}

// call makes a call and returns when it waits, or is done.
func (c *crowd) call(ctx context.Context, fn func(*Item) error) *caller {
	who := &caller{}
	c.callers = append(c.callers, who)
	go func() {
		defer who.done.Store(true)
		defer func() { who.panic = recover() }()
		who.item, who.err = c.hot.Modify(ctx, func(it *Item) error { who.ran++; return fn(it) }, 42)
	}()
	synctest.Wait()
	return who
}

// more has n more callers take one each.
func (c *crowd) more(n int) (all []*caller) {
	for range n {
		all = append(all, c.call(c.t.Context(), take))
	}
	return all
}

// goOn lets the loads go, and returns when all callers have their answers.
func (c *crowd) goOn() {
	c.t.Helper()
	close(c.release)
	synctest.Wait()
	for i, who := range c.callers {
		require.True(c.t, who.done.Load(), "caller %d", i)
	}
	require.Zero(c.t, c.hot.Rows(), "a row that nobody wants is forgotten")
}

// statements returns the statements behind the first caller's load.
func (c *crowd) statements() []string { return c.shop.statements()[1:] }

func bubble(name string, t *testing.T, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
