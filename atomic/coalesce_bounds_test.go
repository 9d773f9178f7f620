package atomic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
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
		closed := make(chan error, 2)
		for range cap(closed) {
			go func() { closed <- crowd.c.Close() }()
		}
		synctest.Wait()
		for _, a := range crowd.answers[1:] {
			require.True(t, a.done.Load())
			require.ErrorIs(t, a.err, atomic.ErrClosed)
			require.ErrorContains(t, a.err, "items.stock at [sku-1]")
		}
		require.False(t, crowd.answers[0].done.Load())
		require.Empty(t, closed, "a call is under way")
		crowd.goOn()
		require.NoError(t, crowd.answers[0].err)
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
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
	bubble("waits for a batch under way", t, func(t *testing.T) {
		row := smallint(100)
		underWay, answer := make(chan struct{}), make(chan struct{})
		row.beforeUpdates(func(context.Context) error {
			close(underWay)
			<-answer
			return nil
		})
		crowd := gather(t, row)
		crowd.more(3)
		close(crowd.release)
		<-underWay
		closed := make(chan error, 1)
		go func() { closed <- crowd.c.Close() }()
		synctest.Wait()
		require.Empty(t, closed)
		close(answer)
		require.NoError(t, <-closed)
		require.Equal(t, int64(97), row.get())
		synctest.Wait()
		for _, a := range crowd.answers {
			require.True(t, a.done.Load())
			require.NoError(t, a.err)
		}
	})
	bubble("waits for a call that is not merged", t, func(t *testing.T) {
		answer := make(chan struct{})
		c := coalesce[int64](t, func(_ context.Context, call fakedb.Call) (fakedb.Reply, error) {
			if call.Kind == fakedb.Query {
				<-answer
			}
			return fakedb.Row(int64(1)), nil
		})
		go c.DecrementIfPositive(t.Context(), []string{"only the driver knows"})
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		require.Empty(t, closed)
		close(answer)
		require.NoError(t, <-closed)
	})
	bubble("says that a driver hangs", t, func(t *testing.T) {
		row := smallint(100)
		hang := make(chan struct{})
		row.beforeUpdates(func(context.Context) error {
			<-hang
			return nil
		})
		crowd := gather(t, row, atomic.Timeout(time.Minute))
		crowd.more(3)
		close(crowd.release)
		synctest.Wait()
		start := time.Now()
		require.ErrorContains(t, crowd.c.Close(), "items.stock: a call under way has not ended")
		require.Equal(t, time.Minute+time.Second, time.Since(start), "the batch's Timeout and the grace")
		synctest.Wait()
		require.ErrorIs(t, crowd.answers[2].err, nogap.ErrOutcomeUnknown)
		require.Error(t, crowd.c.Close(), "it hangs still")
		require.Equal(t, time.Minute+time.Second, time.Since(start), "it is not waited for any more")
		close(hang)
		synctest.Wait()
		require.NoError(t, crowd.c.Close())
	})
	bubble("says that a caller alone hangs", t, func(t *testing.T) {
		row := smallint(100)
		hang := make(chan struct{})
		row.before = func(context.Context, fakedb.Call) error {
			<-hang
			return nil
		}
		c := coalesce[int64](t, row.handle, atomic.Timeout(time.Minute))
		go c.DecrementIfPositive(context.Background(), "sku-1")
		synctest.Wait()
		start := time.Now()
		require.ErrorContains(t, c.Close(), "has not ended")
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		close(hang)
		synctest.Wait()
		require.NoError(t, c.Close())
		require.Equal(t, int64(99), row.get())
	})
}
