package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	stdatomic "sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func TestCoalesceErrorsReachAll(t *testing.T) {
	lost := errors.New("connection reset")
	for name, test := range map[string]struct {
		spoil    func(*fakeRow)
		want     error
		unwanted error
		text     string
	}{
		"missing row": {func(r *fakeRow) { delete(r.stock, "sku-1") }, sql.ErrNoRows, nogap.ErrOutcomeUnknown, "items.stock at [sku-1]"},
		"NULL":        {func(r *fakeRow) { r.stock["sku-1"] = nil }, nil, sql.ErrNoRows, "NULL"},
		"lost after it was sent": {func(r *fakeRow) {
			r.beforeUpdates(func(context.Context) error { return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, lost) })
		}, nogap.ErrOutcomeUnknown, sql.ErrNoRows, "reset"},
		"no connection": {func(r *fakeRow) {
			r.before = func(context.Context, fakedb.Call) error { return driver.ErrBadConn }
		}, driver.ErrBadConn, sql.ErrNoRows, "sku-1"},
	} {
		bubble(name, t, func(t *testing.T) {
			row := smallint(5)
			crowd := gather(t, row)
			crowd.more(4)
			test.spoil(row)
			crowd.goOn()
			for _, a := range crowd.answers[1:] {
				require.Error(t, a.err)
				if test.want != nil {
					require.ErrorIs(t, a.err, test.want)
				}
				require.NotErrorIs(t, a.err, test.unwanted)
				require.ErrorContains(t, a.err, test.text)
				require.Zero(t, a.value)
			}
		})
	}
}

// Nothing is sent again after an unknown outcome, and the next batch relies on nothing that was known before.
func TestCoalesceUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(10)
		fail := true
		row.beforeUpdates(func(context.Context) error {
			if fail {
				fail = false
				row.set(7) // applied, and then the answer is lost
				return io.ErrUnexpectedEOF
			}
			return nil
		})
		crowd := gather(t, row, atomic.MaxBatch(3))
		crowd.more(5)
		crowd.goOn()
		for _, a := range crowd.answers[1:4] {
			require.ErrorIs(t, a.err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, result{value: 6}, crowd.answers[4].result)
		require.Equal(t, result{value: 5}, crowd.answers[5].result)
		require.Equal(t, []string{"SELECT", "UPDATE"}, row.statements(), "besides the lost one")
	})
}

// Not in a bubble: database/sql never lets go of a connection whose driver panicked.
func TestCoalescePanics(t *testing.T) {
	for name, panicAt := range map[string]int64{"of the first caller": 1, "of a batch": 2} {
		t.Run(name, func(t *testing.T) {
			row := smallint(10)
			var n stdatomic.Int64
			hold := make(chan struct{})
			row.before = func(context.Context, fakedb.Call) error {
				<-hold
				if n.Add(1) == panicAt {
					panic("the driver")
				}
				return nil
			}
			c := coalesce[int64](t, row.handle)
			errs, panics := make([]error, 4), make([]any, 4)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					defer func() { panics[i] = recover() }()
					_, errs[i] = c.DecrementIfPositive(context.Background(), "sku-1")
				})
				require.Eventually(t, func() bool { return c.Rows() == 1 && c.Waiting() == i }, time.Minute, time.Microsecond)
			}
			close(hold)
			wg.Wait()
			if panicAt == 1 {
				require.Equal(t, []any{"the driver", nil, nil, nil}, panics)
				require.Equal(t, make([]error, 4), errs, "the others go on")
			} else {
				require.Equal(t, []any{nil, "the driver", nil, nil}, panics)
				require.NoError(t, errs[0])
				require.ErrorIs(t, errs[2], nogap.ErrOutcomeUnknown)
				require.ErrorIs(t, errs[3], nogap.ErrOutcomeUnknown)
			}
			require.Zero(t, c.Rows())
			_, err := c.DecrementIfPositive(context.Background(), "sku-1")
			require.NoError(t, err, "the row is free")
		})
	}
}
