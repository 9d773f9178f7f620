package optimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// answers returns a handler that gives one reply to every statement.
func answers(r fakedb.Reply) fakedb.Handler {
	return func(context.Context, fakedb.Call) (fakedb.Reply, error) { return r, nil }
}

func take(it *Item) error { it.Stock--; return nil }

func TestModify(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	item, err := items.Modify(t.Context(), take, 42)
	require.NoError(t, err)
	require.Equal(t, &Item{42, 1, 8}, item)
	require.Equal(t, *item, s.item(42))
	require.Equal(t, []string{loadItem, swapItem}, s.statements(), "no more than by hand")
}

func TestModifyUntilWon(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	calls := 0
	item, err := items.Modify(t.Context(), func(it *Item) error {
		if calls++; calls <= 2 {
			s.rival(42)
		}
		return take(it)
	}, 42)
	require.NoError(t, err)
	require.Equal(t, 3, calls)
	require.Equal(t, &Item{42, 201, 10}, item)
	require.Equal(t, []string{loadItem, swapItem, loadItem, swapItem, loadItem, swapItem}, s.statements())
}

func TestModifyGivesUp(t *testing.T) {
	s := newShop()
	var lost []int
	items := openItems(t, s, optimistic.MaxAttempts(3),
		optimistic.Backoff(func(n int) time.Duration { lost = append(lost, n); return 0 }))
	item, err := items.Modify(t.Context(), func(it *Item) error { s.rival(42); return take(it) }, 42)
	require.Nil(t, item)
	require.ErrorIs(t, err, optimistic.ErrVersionConflict)
	require.ErrorIs(t, err, optimistic.ErrRetriesExhausted)
	var conflict *optimistic.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, "items", conflict.Table)
	require.Equal(t, []any{int64(42)}, conflict.Key)
	require.Equal(t, int64(9), conflict.Version)
	require.Equal(t, 3, conflict.Attempts)
	require.Equal(t, []int{1, 2}, lost)
	require.Equal(t, Item{42, 302, 10}, s.item(42))
}

// What the server undoes each time is no less lost, and the error names the row as well.
func TestModifyGivesUpToTheServer(t *testing.T) {
	s := newShop()
	s.before = func(c fakedb.Call) error {
		if isWrite(c) {
			return serverError("40001")
		}
		return nil
	}
	_, err := openItems(t, s, optimistic.MaxAttempts(3), noWait).Modify(t.Context(), take, 42)
	require.EqualError(t, err, "nogap: retries exhausted: optimistic: items at [42]: version conflict in each of 3 attempts: SQLSTATE 40001")
	require.ErrorIs(t, err, optimistic.ErrVersionConflict)
	require.ErrorIs(t, err, serverError("40001"))
}

func TestModifyRowGone(t *testing.T) {
	s := newShop()
	items := openItems(t, s, optimistic.MaxAttempts(1))
	_, err := items.Modify(t.Context(), func(it *Item) error { s.remove(42); return take(it) }, 42)
	require.ErrorIs(t, err, sql.ErrNoRows, "also of the last attempt")
	_, err = items.Modify(t.Context(), func(*Item) error { panic("called") }, 42)
	require.ErrorIs(t, err, sql.ErrNoRows)
}

func TestModifyDeclined(t *testing.T) {
	for _, want := range []error{errSoldOut, optimistic.ErrVersionConflict, serverError("40001"), nogap.ErrOutcomeUnknown} {
		s := newShop()
		items := openItems(t, s)
		calls := 0
		item, err := items.Modify(t.Context(), func(it *Item) error { calls++; it.Stock = 0; return want }, 42)
		require.Nil(t, item)
		require.Equal(t, want, err)
		require.Equal(t, 1, calls)
		require.Equal(t, []string{loadItem}, s.statements())
	}
}

func TestModifyTouchesOnlyData(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	_, err := items.Modify(t.Context(), func(it *Item) error { it.ID = 43; return nil }, 42)
	require.ErrorContains(t, err, "key")
	require.Equal(t, Item{42, 2, 7}, s.item(42))

	// The guard was taken before: what the callback does to the version neither weakens nor breaks it.
	item, err := items.Modify(t.Context(), func(it *Item) error { it.Version = 99; return take(it) }, 42)
	require.NoError(t, err)
	require.Equal(t, int64(8), item.Version)
}

func TestModifyPanics(t *testing.T) {
	for name, opts := range map[string][]optimistic.Option{"unlocked": nil, "locked": {optimistic.LockAfter(1), noWait}} {
		t.Run(name, func(t *testing.T) {
			s := newLockingShop()
			items := openItems(t, s.shop, opts...)
			calls := 0
			fn := func(it *Item) error {
				if calls++; calls < 2 {
					s.rival(42)
					return take(it)
				}
				panic("mine")
			}
			require.PanicsWithValue(t, "mine", func() { items.Modify(t.Context(), fn, 42) })
			done := make(chan struct{})
			go func() {
				defer close(done)
				items.Modify(context.Background(), func(*Item) error { runtime.Goexit(); return nil }, 42)
			}()
			<-done
			_, err := items.Modify(t.Context(), take, 42) // its turn comes at once
			require.NoError(t, err)
		})
	}
}

// lockingShop also knows the row lock.
type lockingShop struct{ *shop }

func newLockingShop() lockingShop {
	s := newShop()
	s.Server = fakedb.Recorded(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		c.Query = strings.TrimSuffix(c.Query, " FOR UPDATE")
		return s.serve(ctx, c)
	})
	return lockingShop{s}
}

func TestLockAfter(t *testing.T) {
	s := newLockingShop()
	items := openItems(t, s.shop, optimistic.LockAfter(2), noWait)
	calls := 0
	item, err := items.Modify(t.Context(), func(it *Item) error {
		if calls++; calls <= 2 {
			s.rival(42)
		}
		return take(it)
	}, 42)
	require.NoError(t, err)
	require.Equal(t, &Item{42, 201, 10}, item)
	require.Equal(t, []string{loadItem, swapItem, loadItem, swapItem, "BEGIN", loadItem + " FOR UPDATE", swapItem, "COMMIT"},
		s.statements())
}

func TestLockAfterDeclined(t *testing.T) {
	s := newLockingShop()
	items := openItems(t, s.shop, optimistic.LockAfter(1), noWait)
	calls := 0
	_, err := items.Modify(t.Context(), func(it *Item) error {
		if calls++; calls == 1 {
			s.rival(42)
			return take(it)
		}
		return errSoldOut
	}, 42)
	require.Equal(t, errSoldOut, err)
	require.Equal(t, "ROLLBACK", s.statements()[len(s.statements())-1])
}

// A row lock does not help on a Galera cluster, where a rival on another node makes COMMIT fail.
func TestLockAfterLosesAtCommit(t *testing.T) {
	s := newLockingShop()
	items := openItems(t, s.shop, optimistic.LockAfter(1), optimistic.MaxAttempts(3), noWait)
	s.before = func(c fakedb.Call) error {
		if c.Kind == fakedb.Commit {
			return serverError("40001")
		}
		return nil
	}
	_, err := items.Modify(t.Context(), func(it *Item) error { s.rival(42); return take(it) }, 42)
	require.ErrorIs(t, err, optimistic.ErrRetriesExhausted)
}

// TestNoConnectionWhileTheCallbackThinks uses the only connection in the callback.
func TestNoConnectionWhileTheCallbackThinks(t *testing.T) {
	s := newShop()
	db := s.DB()
	db.SetMaxOpenConns(1)
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	_, err = items.Modify(t.Context(), func(it *Item) error {
		seen, err := items.Get(t.Context(), 42)
		require.Equal(t, it, seen)
		return err
	}, 42)
	require.NoError(t, err)
}

// TestQueue lets many callers read the same version. All but one lose; then they win one after the other, in the order
// in which they came, and nobody loses again.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		items := openItems(t, s)
		const callers = 20
		var mu sync.Mutex
		var won []int
		attempts := 0
		var wg sync.WaitGroup
		for i := range callers {
			time.Sleep(time.Microsecond)
			wg.Go(func() {
				_, err := items.Modify(context.Background(), func(it *Item) error {
					time.Sleep(time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					attempts++
					return take(it)
				}, 42)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				won = append(won, i)
			})
		}
		wg.Wait()
		require.Equal(t, Item{42, 2 - callers, 7 + callers}, s.item(42))
		require.True(t, slices.IsSorted(won), "%v", won)
		require.LessOrEqual(t, attempts, 2*callers-1)
	})
}

// TestNewcomersQueue: who comes while others queue does not overtake them.
func TestNewcomersQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		items := openItems(t, s)
		var attempts atomic.Int64
		var wg sync.WaitGroup
		slow := func(it *Item) error {
			time.Sleep(10 * time.Millisecond)
			attempts.Add(1)
			return take(it)
		}
		for range 2 {
			wg.Go(func() { items.Modify(context.Background(), slow, 42) })
		}
		time.Sleep(15 * time.Millisecond) // the loser is in its second attempt
		require.EqualValues(t, 2, attempts.Load())
		for range 3 {
			wg.Go(func() { items.Modify(context.Background(), slow, 42) })
		}
		wg.Wait()
		require.EqualValues(t, 6, attempts.Load(), "no newcomer has lost")
		require.Equal(t, int64(12), s.item(42).Version)

		// Nobody is left in the line, so nobody waits.
		start := time.Now()
		_, err := items.Modify(t.Context(), take, 42)
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
	})
}

func TestQueueContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		items := openItems(t, s)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				items.Modify(context.Background(), func(it *Item) error { time.Sleep(50 * time.Millisecond); return take(it) }, 42)
			})
		}
		time.Sleep(60 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := items.Modify(ctx, func(*Item) error { panic("called") }, 42)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(start))
		wg.Wait()
		require.Equal(t, int64(9), s.item(42).Version)
	})
}

// TestCrosswise calls Modify in a callback, against the advice, on two rows and in both orders, while both rows are
// contended. Nobody waits for ever.
func TestCrosswise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.rows[43] = &Item{ID: 43, Version: 1}
		items := openItems(t, s)
		var wg sync.WaitGroup
		for _, key := range [][2]int64{{42, 43}, {43, 42}, {42, 42}} {
			wg.Go(func() {
				calls := 0
				_, err := items.Modify(context.Background(), func(it *Item) error {
					time.Sleep(time.Millisecond)
					if calls++; calls > 4 {
						return nil
					}
					_, err := items.Modify(context.Background(), take, key[1])
					return err
				}, key[0])
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestLostReplyOfModify(t *testing.T) {
	lost := errors.New("connection reset")
	s := newShop()
	items := openItems(t, s)
	s.after = func(fakedb.Call) error { s.before = func(fakedb.Call) error { return errDown }; return lost }
	calls := 0
	item, err := items.Modify(t.Context(), func(it *Item) error { calls++; return take(it) }, 42)
	require.Nil(t, item)
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	require.ErrorIs(t, err, lost)
	require.Equal(t, 1, calls)
	require.Equal(t, Item{42, 1, 8}, s.item(42), "once")
}
