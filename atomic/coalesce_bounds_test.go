package atomic_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func TestCoalesceBounds(t *testing.T) {
	bubble("MaxBatch", t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row, atomic.MaxBatch(4))
		crowd.more(10)
		crowd.goOn()
		require.Equal(t, []string{"SELECT", "UPDATE", "UPDATE", "UPDATE"}, row.statements())
		require.Equal(t, result{value: 90}, crowd.answers[10].result)
	})
	bubble("MaxWaiting", t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row, atomic.MaxWaiting(2))
		crowd.more(4)
		for _, a := range crowd.answers[3:] {
			require.True(t, a.done.Load())
			require.ErrorIs(t, a.err, atomic.ErrOverloaded)
			require.ErrorContains(t, a.err, "items.stock at [sku-1]")
		}
		crowd.goOn()
		require.Equal(t, int64(98), row.get())
	})
	bubble("rows do not wait for each other", t, func(t *testing.T) {
		row := smallint(100)
		one := int64(1)
		row.stock["sku-2"] = &one
		hold := make(chan struct{})
		row.before = func(_ context.Context, c fakedb.Call) error {
			if c.Arg(0) == "sku-1" {
				<-hold
			}
			return nil
		}
		c := coalesce[int64](t, row.handle)
		go c.DecrementIfPositive(t.Context(), "sku-1")
		synctest.Wait()
		left, err := c.DecrementIfPositive(t.Context(), "sku-2")
		require.NoError(t, err)
		require.Zero(t, left)
		close(hold)
		synctest.Wait()
	})
}

func TestCoalesceClose(t *testing.T) {
	bubble("while others wait", t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row)
		crowd.more(3)
		require.NoError(t, crowd.c.Close())
		synctest.Wait()
		for _, a := range crowd.answers[1:] {
			require.ErrorIs(t, a.err, atomic.ErrClosed)
		}
		require.False(t, crowd.answers[0].done.Load())
		crowd.goOn()
		require.NoError(t, crowd.answers[0].err)
		_, err := crowd.c.DecrementIfPositive(t.Context(), "sku-1")
		require.ErrorIs(t, err, atomic.ErrClosed)
		_, err = crowd.c.DecrementIfPositive(t.Context(), []string{"only the driver knows"})
		require.ErrorIs(t, err, atomic.ErrClosed)
		require.NoError(t, crowd.c.Close())
		require.Equal(t, int64(100), row.get())
	})
	bubble("at the moment at which the batch leaves", t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row)
		crowd.more(3)
		close(crowd.release)
		require.NoError(t, crowd.c.Close())
		synctest.Wait()
		taken := int64(0)
		for _, a := range crowd.answers[1:] {
			require.True(t, a.done.Load())
			if a.err == nil {
				taken++
			}
		}
		require.Equal(t, 100-taken, row.get())
		require.Zero(t, crowd.c.Rows())
	})
}
