package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
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

func TestCoalesceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(2)
		c := coalesce(t, row)
		type whose struct{}
		row.before = func(ctx context.Context, call fakedb.Call) error {
			if call.Kind == fakedb.Query {
				require.Equal(t, "mine", ctx.Value(whose{}))
			}
			return nil
		}
		ctx := context.WithValue(t.Context(), whose{}, "mine")
		for _, left := range []int64{1, 0} {
			v, err := c.DecrementIfPositive(ctx, "sku-1")
			require.NoError(t, err)
			require.Equal(t, left, v)
			require.Equal(t, []string{"UPDATE"}, row.statements())
		}
		v, err := c.DecrementIfPositive(ctx, "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.Zero(t, v)
		require.Equal(t, []string{"UPDATE", "SELECT"}, row.statements())
		require.Zero(t, c.Rows())
	})
}

func TestCoalesceMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row)
		for range 9 {
			crowd.call(t.Context(), takeOne)
		}
		require.Equal(t, 9, crowd.c.Waiting())
		crowd.goOn()
		for i, a := range crowd.answers[1:] {
			require.NoError(t, a.err)
			require.Equal(t, int64(99-i), a.value)
		}
		require.Equal(t, []string{"SELECT", "UPDATE"}, row.statements(), "the first, who added nothing, and the batch")
	})
}

func TestCoalesceGrantsWhatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(10)
		crowd := gather(t, row)
		for _, n := range []int64{4, 4, 4, 3, 2, 1} {
			crowd.call(t.Context(), take(n))
		}
		crowd.goOn()
		want := []result{
			{value: 10},
			{value: 6}, {value: 2}, {2, atomic.ErrInsufficient, true}, {2, atomic.ErrInsufficient, true},
			{value: 0}, {0, atomic.ErrInsufficient, true},
		}
		for i, a := range crowd.answers {
			require.Equal(t, want[i], a.result, i)
		}
		require.Equal(t, []string{"SELECT", "UPDATE"}, row.statements())
		var refused *atomic.RefusedError
		require.ErrorAs(t, crowd.answers[3].err, &refused)
		require.Equal(t, &atomic.RefusedError{
			Err: atomic.ErrInsufficient, Table: "items", Column: "stock", Key: atomic.Key{"sku-1"}, Current: int64(2),
		}, refused)
	})
}

func TestCoalesceRefusesWithOneLook(t *testing.T) {
	bubble("as it was", t, func(t *testing.T) {
		row := smallint(0)
		crowd := gather(t, row)
		for range 5 {
			crowd.call(t.Context(), takeOne)
		}
		crowd.goOn()
		for _, a := range crowd.answers[1:] {
			require.ErrorIs(t, a.err, atomic.ErrInsufficient)
		}
		require.Equal(t, []string{"SELECT", "SELECT"}, row.statements())
	})
	bubble("not any more", t, func(t *testing.T) {
		row := smallint(0)
		n := 0
		row.before = func(_ context.Context, c fakedb.Call) error {
			if c.Kind == fakedb.Query {
				if n++; n == 2 {
					row.set(3) // another process fills up before the batch leaves
				}
			}
			return nil
		}
		crowd := gather(t, row)
		for range 5 {
			crowd.call(t.Context(), takeOne)
		}
		crowd.goOn()
		for i, a := range crowd.answers[1:] {
			if i < 3 {
				require.NoError(t, a.err)
				require.Equal(t, int64(2-i), a.value)
			} else {
				require.ErrorIs(t, a.err, atomic.ErrInsufficient)
			}
		}
		require.Equal(t, []string{"SELECT", "SELECT", "UPDATE"}, row.statements())
	})
}

// A row that another process changes before each of the batch's statements is locked in the end.
func TestCoalesceLocksARowThatKeepsChanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(5)
		locked := false
		row.before = func(_ context.Context, c fakedb.Call) error {
			locked = locked || strings.HasSuffix(c.Query, "FOR UPDATE")
			if strings.HasPrefix(c.Query, "UPDATE") && !locked {
				row.set(104 - row.get())
			}
			return nil
		}
		crowd := gather(t, row)
		crowd.call(t.Context(), request{op: 3, n: 10, limit: 100}) // fits 5, but not 99
		crowd.call(t.Context(), take(95))                          // fits 99, but not 15
		crowd.goOn()
		require.Equal(t, []string{
			"SELECT", "UPDATE", "SELECT", "UPDATE", "SELECT", "UPDATE", "BEGIN", "LOCK", "UPDATE", "COMMIT",
		}, row.statements())
		require.Equal(t, result{99, atomic.ErrLimit, true}, crowd.answers[1].result)
		require.Equal(t, result{value: 4}, crowd.answers[2].result)
		require.Equal(t, int64(4), row.get())
	})
}

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
			r.before = func(_ context.Context, c fakedb.Call) error {
				if strings.HasPrefix(c.Query, "UPDATE") {
					return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, lost)
				}
				return nil
			}
		}, nogap.ErrOutcomeUnknown, sql.ErrNoRows, "reset"},
		"no connection": {func(r *fakeRow) {
			r.before = func(_ context.Context, c fakedb.Call) error {
				if c.Kind == fakedb.Query {
					return driver.ErrBadConn
				}
				return nil
			}
		}, driver.ErrBadConn, sql.ErrNoRows, "sku-1"},
	} {
		bubble(name, t, func(t *testing.T) {
			row := smallint(5)
			var before func(context.Context, fakedb.Call) error
			row.before = func(ctx context.Context, c fakedb.Call) error {
				if before == nil {
					return nil
				}
				return before(ctx, c)
			}
			crowd := gather(t, row)
			for range 4 {
				crowd.call(t.Context(), takeOne)
			}
			spoiled := &fakeRow{stock: row.stock}
			test.spoil(spoiled)
			before = spoiled.before
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
		row.before = func(_ context.Context, c fakedb.Call) error {
			if fail && strings.HasPrefix(c.Query, "UPDATE") {
				fail = false
				row.set(7) // applied, and then the answer is lost
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		crowd := gather(t, row, atomic.MaxBatch(3))
		for range 5 {
			crowd.call(t.Context(), takeOne)
		}
		crowd.goOn()
		for _, a := range crowd.answers[1:4] {
			require.ErrorIs(t, a.err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, result{value: 6}, crowd.answers[4].result)
		require.Equal(t, result{value: 5}, crowd.answers[5].result)
		require.Equal(t, []string{"SELECT", "UPDATE"}, row.statements(), "besides the lost one")
	})
}

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
		row.before = func(ctx context.Context, c fakedb.Call) error {
			if strings.HasPrefix(c.Query, "UPDATE") {
				close(underWay)
				select {
				case <-answer:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}
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
		row.before = func(ctx context.Context, c fakedb.Call) error {
			if strings.HasPrefix(c.Query, "UPDATE") {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		crowd := gather(t, row, atomic.Timeout(time.Second))
		for range 3 {
			crowd.call(t.Context(), takeOne)
		}
		close(crowd.release)
		time.Sleep(time.Second - time.Millisecond)
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
		row.before = func(_ context.Context, c fakedb.Call) error {
			if strings.HasPrefix(c.Query, "UPDATE") && !hangs.Swap(true) {
				<-hang
			}
			return nil
		}
		crowd := gather(t, row, atomic.Timeout(time.Second))
		for range 3 {
			crowd.call(t.Context(), takeOne)
		}
		close(crowd.release)
		time.Sleep(time.Second + time.Millisecond)
		late := crowd.call(t.Context(), take(5))
		time.Sleep(time.Second)
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
	bubble("the row goes on without a first caller who hangs", t, func(t *testing.T) {
		row := smallint(10)
		hang := make(chan struct{})
		var hangs stdatomic.Bool
		row.before = func(ctx context.Context, c fakedb.Call) error {
			if c.Kind == fakedb.Query && !hangs.Swap(true) {
				<-hang
			}
			return nil
		}
		crowd := gather(t, row, atomic.Timeout(time.Minute))
		close(crowd.release)
		for range 3 {
			crowd.call(t.Context(), takeOne)
		}
		time.Sleep(time.Minute - time.Second)
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

func TestCoalesceBounds(t *testing.T) {
	bubble("MaxBatch", t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row, atomic.MaxBatch(4))
		for range 10 {
			crowd.call(t.Context(), takeOne)
		}
		crowd.goOn()
		require.Equal(t, []string{"SELECT", "UPDATE", "UPDATE", "UPDATE"}, row.statements())
		require.Equal(t, result{value: 90}, crowd.answers[10].result)
	})
	bubble("MaxWaiting", t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row, atomic.MaxWaiting(2))
		for range 4 {
			crowd.call(t.Context(), takeOne)
		}
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
			if c.Kind == fakedb.Query && c.Arg(0) == "sku-1" {
				<-hold
			}
			return nil
		}
		c := coalesce(t, row)
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
		for range 3 {
			crowd.call(t.Context(), takeOne)
		}
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
		for range 3 {
			crowd.call(t.Context(), takeOne)
		}
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

// Not in a bubble: database/sql never lets go of a connection whose driver panicked.
func TestCoalescePanics(t *testing.T) {
	for name, panicAt := range map[string]int64{"of the first caller": 1, "of a batch": 2} {
		t.Run(name, func(t *testing.T) {
			row := smallint(10)
			var n stdatomic.Int64
			hold := make(chan struct{})
			row.before = func(_ context.Context, c fakedb.Call) error {
				if c.Kind != fakedb.Query {
					return nil
				}
				<-hold
				if n.Add(1) == panicAt {
					panic("the driver")
				}
				return nil
			}
			c := coalesce(t, row)
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

func TestCoalesceBadInput(t *testing.T) {
	row := smallint(5)
	db := fakedb.Open(row.handle)
	defer db.Close()
	pg := atomic.WithDialect(nogap.Postgres)
	counter, err := atomic.NewCounter[int64](db, "items", "stock", pg)
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	row.statements()
	for want, c := range map[string]*atomic.Coalescer[int64]{
		"the Counter is nil":            atomic.Coalesce[int64](nil),
		"part of a transaction":         atomic.Coalesce(counter.WithTx(tx)),
		"MaxBatch is 0, less than 1":    atomic.Coalesce(counter, atomic.MaxBatch(0)),
		"MaxWaiting is -1, less than 1": atomic.Coalesce(counter, atomic.MaxWaiting(-1)),
		"Timeout is 0s":                 atomic.Coalesce(counter, atomic.Timeout(0)),
		"an option is nil":              atomic.Coalesce(counter, nil),
	} {
		for _, op := range []byte{0, 1, 2, 3} {
			_, err := request{op: op, n: 1, limit: 9}.call(t.Context(), c)
			require.ErrorContains(t, err, want)
		}
		require.ErrorContains(t, c.Close(), want)
	}
	text, err := atomic.NewCounter[string](db, "items", "stock", pg)
	require.NoError(t, err)
	_, err = atomic.Coalesce(text).Decrement(t.Context(), "1", "sku-1")
	require.ErrorContains(t, err, "no integers")

	c := atomic.Coalesce(counter)
	for _, op := range []byte{1, 2, 3} {
		_, err := request{op: op, n: -1}.call(t.Context(), c)
		require.ErrorContains(t, err, "amount -1 is negative")
	}
	_, err = c.DecrementIfPositive(t.Context())
	require.ErrorContains(t, err, "has 1 values")
	require.Empty(t, row.statements())
	require.Zero(t, c.Rows())
}

// What only the driver can read is not merged, and can't be mistaken for another row.
func TestCoalesceKeys(t *testing.T) {
	type sku string
	now := time.Now()
	for name, test := range map[string]struct {
		a, b any
		same bool
	}{
		"text":                     {"a", sku("a"), true},
		"an integer":               {1, int64(1), true},
		"text and bytes":           {"a", []byte("a"), false},
		"number and text":          {1, "1", false},
		"not a number":             {math.NaN(), math.NaN(), true},
		"a pointer":                {&[]string{"a"}[0], "a", true},
		"a time":                   {now, now.Round(0), true},
		"another zone":             {now.UTC(), now.In(time.FixedZone("", 3600)), false},
		"known to the driver only": {[]string{"a"}, []string{"a"}, false},
	} {
		bubble(name, t, func(t *testing.T) {
			hold := make(chan struct{})
			db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if c.Kind == fakedb.Query {
					<-hold
				}
				return fakedb.Row(int64(1)), nil
			})
			defer db.Close()
			counter, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
			require.NoError(t, err)
			c := atomic.Coalesce(counter)
			for _, key := range []any{test.a, test.b} {
				go c.DecrementIfPositive(context.Background(), key)
				synctest.Wait()
			}
			want := map[bool]int{true: 1}[test.same]
			require.Equal(t, want, c.Waiting())
			close(hold)
			synctest.Wait()
			require.Zero(t, c.Rows())
		})
	}
}

// Whatever the integer type is, what it cannot hold is the Counter's to answer.
func TestCoalesceTypes(t *testing.T) {
	t.Run("int", inType[int])
	t.Run("int8", inType[int8])
	t.Run("uint8", inType[uint8])
	t.Run("uint16", inType[uint16])
	t.Run("uint64", inType[uint64])
	type pieces int32
	t.Run("a type of one's own", inType[pieces])
}

func inType[N int | int8 | uint8 | uint16 | uint64 | ~int32](t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(100)
		row.low = 0
		hold := make(chan struct{})
		row.before = func(_ context.Context, c fakedb.Call) error {
			if c.Kind == fakedb.Query {
				<-hold
			}
			return nil
		}
		db := fakedb.Open(row.handle)
		defer db.Close()
		counter, err := atomic.NewCounter[N](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
		require.NoError(t, err)
		c := atomic.Coalesce(counter)
		defer c.Close()
		var values [6]N
		var errs [6]error
		for i, call := range []func(context.Context) (N, error){
			func(ctx context.Context) (N, error) { return c.Increment(ctx, 1, "sku-1") },
			func(ctx context.Context) (N, error) { return c.Increment(ctx, 25, "sku-1") },
			func(ctx context.Context) (N, error) { return c.Decrement(ctx, 127, "sku-1") },
			func(ctx context.Context) (N, error) { return c.IncrementUpTo(ctx, 10, 120, "sku-1") },
			func(ctx context.Context) (N, error) { return c.Decrement(ctx, 126, "sku-1") },
			func(ctx context.Context) (N, error) { return c.DecrementIfPositive(ctx, "sku-1") },
		} {
			go func() { values[i], errs[i] = call(context.Background()) }()
			synctest.Wait()
		}
		close(hold)
		synctest.Wait()
		require.Equal(t, [6]N{101, 126, 126, 126, 0, 0}, values)
		for i, want := range []error{nil, nil, atomic.ErrInsufficient, atomic.ErrLimit, nil, atomic.ErrInsufficient} {
			require.ErrorIs(t, errs[i], want)
		}
	})
}
