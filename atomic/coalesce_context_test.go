package atomic_test

import (
	"context"
	"math"
	"runtime"
	stdatomic "sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func TestCoalesceContexts(t *testing.T) {
	bubble("who gives up before the batch leaves takes nothing", t, func(t *testing.T) {
		row := smallint(10)
		crowd := gather(t, row)
		var givesUp []*answer
		var cancels []context.CancelFunc
		for i := range 6 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if a := crowd.call(ctx, takeOne); i%2 == 0 { // the first, who would send the batch, is one of them
				givesUp, cancels = append(givesUp, a), append(cancels, cancel)
			}
		}
		for _, cancel := range cancels {
			cancel()
		}
		synctest.Wait()
		require.Equal(t, 3, crowd.c.Waiting())
		for _, a := range givesUp {
			require.ErrorIs(t, a.err, context.Canceled)
			require.NotErrorIs(t, a.err, nogap.ErrOutcomeUnknown)
		}
		crowd.goOn()
		require.Equal(t, int64(7), row.get())
	})
	bubble("all give up", t, func(t *testing.T) {
		row := smallint(10)
		crowd := gather(t, row)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			crowd.call(ctx, takeOne)
		}
		cancel()
		crowd.goOn()
		require.Equal(t, int64(10), row.get())
		require.Equal(t, []string{"SELECT"}, row.statements())
	})
	bubble("just before the batch leaves", t, func(t *testing.T) {
		row := smallint(10)
		crowd := gather(t, row)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			crowd.call(ctx, takeOne)
			crowd.call(t.Context(), takeOne)
		}
		cancel()
		close(crowd.release)
		synctest.Wait()
		taken := int64(0)
		for _, a := range crowd.answers[1:] {
			require.True(t, a.done.Load())
			if a.err == nil {
				taken++
			} else {
				require.ErrorIs(t, a.err, context.Canceled)
			}
		}
		require.Equal(t, int64(3), taken)
		require.Equal(t, int64(7), row.get())
		require.Zero(t, crowd.c.Rows())
	})
	bubble("a batch under way is carried through", t, func(t *testing.T) {
		row := smallint(10)
		underWay, answer := make(chan struct{}), make(chan struct{})
		row.beforeUpdates(func(ctx context.Context) error {
			close(underWay)
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		crowd := gather(t, row)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			crowd.call(ctx, takeOne) // the one that sends the batch, too
		}
		close(crowd.release)
		<-underWay
		cancel()
		synctest.Wait()
		for _, a := range crowd.answers[1:] {
			require.False(t, a.done.Load())
		}
		close(answer)
		synctest.Wait()
		for i, a := range crowd.answers[1:] {
			require.NoError(t, a.err)
			require.Equal(t, int64(9-i), a.value)
		}
	})
	bubble("Timeout ends a batch", t, func(t *testing.T) {
		row := smallint(10)
		row.beforeUpdates(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		crowd := gather(t, row, atomic.Timeout(time.Second))
		crowd.more(3)
		close(crowd.release)
		time.Sleep(time.Second - time.Millisecond) // the Timeout is nearly over
		synctest.Wait()
		require.False(t, crowd.answers[3].done.Load())
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		for _, a := range crowd.answers[1:] {
			require.ErrorIs(t, a.err, context.DeadlineExceeded)
			require.ErrorIs(t, a.err, nogap.ErrOutcomeUnknown)
		}
	})
	bubble("a driver that does not heed the Timeout", t, func(t *testing.T) {
		row := smallint(10)
		hang := make(chan struct{})
		var hangs stdatomic.Bool
		row.beforeUpdates(func(context.Context) error {
			if !hangs.Swap(true) {
				<-hang
			}
			return nil
		})
		crowd := gather(t, row, atomic.Timeout(time.Second))
		crowd.more(3)
		close(crowd.release)
		time.Sleep(time.Second + time.Millisecond) // the Timeout is over
		late := crowd.call(t.Context(), take(5))
		time.Sleep(time.Second) // the grace is over, too
		synctest.Wait()
		for _, a := range crowd.answers[2:4] {
			require.True(t, a.done.Load())
			require.ErrorIs(t, a.err, nogap.ErrOutcomeUnknown)
			require.ErrorIs(t, a.err, context.DeadlineExceeded)
		}
		require.True(t, late.done.Load())
		require.NoError(t, late.err, "the row goes on")
		require.Equal(t, int64(5), late.value)
		require.False(t, crowd.answers[1].done.Load())
		close(hang)
		synctest.Wait()
		require.True(t, crowd.answers[1].done.Load())
		if crowd.answers[1].err != nil { // database/sql may have closed the rows when the context ended
			require.ErrorIs(t, crowd.answers[1].err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, int64(2), row.get())
		require.Zero(t, crowd.c.Rows())
	})
	bubble("a caller who is told so may change its key", t, func(t *testing.T) {
		row := smallint(10)
		hang := make(chan struct{})
		row.beforeUpdates(func(context.Context) error {
			<-hang
			return sqlState("23514") // as if one by one were worth a try
		})
		crowd := gather(t, row, atomic.Timeout(time.Second))
		crowd.more(1)
		key := []any{"sku-1"}
		go func() {
			_, err := crowd.c.DecrementIfPositive(context.Background(), key...)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			close(hang)
			for range 1000 { // for the race detector, which sees it if anybody reads
				key[0] = "sku-2"
				runtime.Gosched()
			}
		}()
		synctest.Wait()
		close(crowd.release)
		time.Sleep(time.Minute)
		require.Zero(t, crowd.c.Rows())
		require.Equal(t, int64(10), row.get())
	})
	bubble("a Timeout without end", t, func(t *testing.T) {
		row := smallint(10)
		row.beforeUpdates(func(context.Context) error {
			time.Sleep(time.Millisecond)
			return nil
		})
		crowd := gather(t, row, atomic.Timeout(math.MaxInt64))
		crowd.more(3)
		close(crowd.release)
		time.Sleep(time.Second)
		for _, a := range crowd.answers {
			require.True(t, a.done.Load())
			require.NoError(t, a.err)
		}
		require.Equal(t, int64(7), row.get())
	})
	bubble("the row goes on without a first caller who hangs", t, func(t *testing.T) {
		row := smallint(10)
		hang := make(chan struct{})
		var hangs stdatomic.Bool
		row.before = func(context.Context, fakedb.Call) error {
			if !hangs.Swap(true) {
				<-hang
			}
			return nil
		}
		crowd := gather(t, row, atomic.Timeout(time.Minute))
		close(crowd.release)
		crowd.more(3)
		time.Sleep(time.Minute - time.Second) // the Timeout is nearly over
		require.Equal(t, 3, crowd.c.Waiting())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for i, a := range crowd.answers[1:] {
			require.NoError(t, a.err)
			require.Equal(t, int64(9-i), a.value)
		}
		require.False(t, crowd.answers[0].done.Load())
		close(hang)
		synctest.Wait()
		require.NoError(t, crowd.answers[0].err)
		require.Zero(t, crowd.c.Rows())
	})
}
