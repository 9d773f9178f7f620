package optimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// watcher is an Observer that keeps what it is told.
type watcher struct {
	mu   sync.Mutex
	ops  []nogap.Operation
	ends []nogap.Result
}

type watched struct{}

func (w *watcher) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	return context.WithValue(ctx, watched{}, op.Name), func(r nogap.Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ops, w.ends = append(w.ops, op), append(w.ends, r)
	}
}

func TestObserved(t *testing.T) {
	type table = *optimistic.Table[Item]
	lost := errors.New("connection reset")
	update := func(ctx context.Context, items table, s *shop) error { return items.Update(ctx, &Item{42, 1, 7}) }
	deadlocks := func(s *shop, n int) {
		s.before = func(c fakedb.Call) error {
			if n--; isWrite(c) && n >= 0 {
				return serverError("40P01")
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		prepare  func(*shop)
		call     func(context.Context, table, *shop) error
		method   string
		outcome  nogap.Outcome
		attempts int
	}{
		"get": {nil, func(ctx context.Context, items table, _ *shop) error { _, err := items.Get(ctx, 42); return err },
			"Get", nogap.OutcomeOK, 1},
		"no row": {nil, func(ctx context.Context, items table, _ *shop) error { _, err := items.Get(ctx, 43); return err },
			"Get", nogap.OutcomeRefused, 1},
		"bad key": {nil, func(ctx context.Context, items table, _ *shop) error { _, err := items.Get(ctx); return err },
			"Get", nogap.OutcomeError, 0},
		"update": {nil, update, "Update", nogap.OutcomeOK, 1},
		"no item": {nil, func(ctx context.Context, items table, _ *shop) error { return items.Update(ctx, nil) },
			"Update", nogap.OutcomeError, 0},
		"conflict":       {func(s *shop) { s.rival(42) }, update, "Update", nogap.OutcomeConflict, 1},
		"deadlock twice": {func(s *shop) { deadlocks(s, 2) }, update, "Update", nogap.OutcomeOK, 3},
		"deadlock again": {func(s *shop) { deadlocks(s, 99) }, update, "Update", nogap.OutcomeExhausted, 4},
		"unknown": {func(s *shop) {
			s.after = func(fakedb.Call) error { return errors.Join(lost, io.ErrUnexpectedEOF) }
		}, update, "Update", nogap.OutcomeUnknown, 1},
		"delete": {nil, func(ctx context.Context, items table, _ *shop) error { return items.Delete(ctx, &Item{42, 1, 7}) },
			"Delete", nogap.OutcomeOK, 1},
		"modify": {nil, func(ctx context.Context, items table, s *shop) error {
			calls := 0
			_, err := items.Modify(ctx, func(it *Item) error {
				if calls++; calls < 3 {
					s.rival(42)
				}
				return take(it)
			}, 42)
			return err
		}, "Modify", nogap.OutcomeOK, 3},
		"modify gives up": {nil, func(ctx context.Context, items table, s *shop) error {
			_, err := items.Modify(ctx, func(it *Item) error { s.rival(42); return take(it) }, 42)
			return err
		}, "Modify", nogap.OutcomeExhausted, 4},
		"callback": {nil, func(ctx context.Context, items table, _ *shop) error {
			_, err := items.Modify(ctx, func(*Item) error { return optimistic.ErrVersionConflict }, 42)
			return err
		}, "Modify", nogap.OutcomeError, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			db := s.DB()
			defer db.Close()
			items, err := optimistic.NewTable[Item](db, "items", optimistic.MaxAttempts(4), noWait)
			require.NoError(t, err)
			w := new(watcher)
			defer nogap.Observe(db, w)()
			if tt.prepare != nil {
				tt.prepare(s)
			}
			err = tt.call(t.Context(), items, s)
			require.Equal(t, []nogap.Operation{{Name: "optimistic." + tt.method, Table: "items"}}, w.ops, "once")
			require.Equal(t, []nogap.Result{{Outcome: tt.outcome, Attempts: tt.attempts, Err: err, Callback: name == "callback"}}, w.ends)
			require.Equal(t, tt.outcome == nogap.OutcomeOK, err == nil)
		})
	}
}

// In a transaction of the caller's the operation is seen, too, and the callback of Modify shows what it calls.
func TestObservedInTransaction(t *testing.T) {
	s := newShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	w := new(watcher)
	stop := nogap.Observe(db, w)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = items.WithTx(tx).Modify(t.Context(), func(it *Item) error {
		_, err := items.Get(t.Context(), 42)
		return errors.Join(err, take(it))
	}, 42)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, []nogap.Operation{{Name: "optimistic.Get", Table: "items"}, {Name: "optimistic.Modify", Table: "items"}}, w.ops)
	require.Equal(t, 1, w.ends[1].Attempts)

	stop()
	_, err = items.Get(t.Context(), 43)
	require.ErrorIs(t, err, sql.ErrNoRows)
	require.Len(t, w.ops, 2, "nobody observes any more")
}

// TestObservedInQueue: the time in the queue of the process is told.
func TestObservedInQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		db := s.DB()
		defer db.Close()
		items, err := optimistic.NewTable[Item](db, "items", noWait)
		require.NoError(t, err)
		w := new(watcher)
		defer nogap.Observe(db, w)()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				items.Modify(context.Background(), func(it *Item) error { time.Sleep(time.Millisecond); return take(it) }, 42)
			})
		}
		wg.Wait()
		var waited []time.Duration
		for _, r := range w.ends {
			require.NoError(t, r.Err)
			waited = append(waited, r.Waited)
		}
		// All have read one version. One wins, the second goes on at once, and the third waits for it.
		require.Equal(t, []time.Duration{0, 0, time.Millisecond}, waited)
	})
}

// The statements get the context that the Observer returned.
func TestObserversContext(t *testing.T) {
	var seen []any
	db := fakedb.Open(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Exec {
			seen = append(seen, ctx.Value(watched{}))
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
	defer db.Close()
	items, err := optimistic.NewTable[Item](db, "items", optimistic.WithDialect(nogap.SQLite))
	require.NoError(t, err)
	defer nogap.Observe(db, new(watcher))()
	require.NoError(t, items.Update(t.Context(), &Item{42, 1, 7}))
	require.NoError(t, items.Delete(t.Context(), &Item{42, 1, 7}))
	require.Equal(t, []any{"optimistic.Update", "optimistic.Delete"}, seen)
}
