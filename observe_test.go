package nogap_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
)

// observer counts what it sees.
type observer struct {
	started, ended atomic.Int64
	db             *sql.DB // which it may refer to
}

func (o *observer) Start(ctx context.Context, _ nogap.Operation) (context.Context, func(nogap.Result)) {
	o.started.Add(1)
	return ctx, func(nogap.Result) { o.ended.Add(1) }
}

func (o *observer) require(t *testing.T, started, ended int) {
	t.Helper()
	require.EqualValues(t, started, o.started.Load())
	require.EqualValues(t, ended, o.ended.Load())
}

func bind(tb testing.TB, db *sql.DB, name string) *table.Table {
	tb.Helper()
	items, err := table.Bind(db, name, table.Options{})
	require.NoError(tb, err)
	return items
}

func operate(t *testing.T, items *table.Table) {
	t.Helper()
	require.NoError(t, items.Operation(t.Context(), "test.Do", func(context.Context, *observe.Op) error { return nil }))
}

func open(tb testing.TB) *sql.DB {
	db := fakedb.Open(nil)
	tb.Cleanup(func() { db.Close() })
	return db
}

func TestObserve(t *testing.T) {
	db, other := open(t), open(t)
	before := bind(t, db, "items")
	first, second := new(observer), new(observer)
	stop := nogap.Observe(db, first)
	operate(t, before)
	operate(t, bind(t, db, "items"))
	operate(t, bind(t, other, "items"))
	first.require(t, 2, 2)

	stopSecond := nogap.Observe(db, second)
	operate(t, before)
	first.require(t, 3, 3)
	second.require(t, 1, 1)

	stop()
	stop()
	operate(t, before)
	first.require(t, 3, 3)
	second.require(t, 2, 2)

	stopSecond()
	operate(t, before)
	second.require(t, 2, 2)
	runtime.KeepAlive(db)
}

// The same Observer may be registered twice, and is then told twice.
func TestObserveTheSameTwice(t *testing.T) {
	db := open(t)
	items := bind(t, db, "items")
	o := new(observer)
	stop := nogap.Observe(db, o)
	nogap.Observe(db, o)
	operate(t, items)
	o.require(t, 2, 2)
	stop()
	stop()
	operate(t, items)
	o.require(t, 3, 3)
}

func TestObserveStopsInMidOperation(t *testing.T) {
	db := open(t)
	items := bind(t, db, "items")
	o, late := new(observer), new(observer)
	stop := nogap.Observe(db, o)
	err := items.Operation(t.Context(), "test.Do", func(context.Context, *observe.Op) error {
		stop()
		nogap.Observe(db, late)
		o.require(t, 1, 0)
		return nil
	})
	require.NoError(t, err)
	o.require(t, 1, 1)
	late.require(t, 0, 0)
}

func TestObservePanics(t *testing.T) {
	require.PanicsWithValue(t, "nogap: Observe: db is nil", func() { nogap.Observe(nil, new(observer)) })
	require.PanicsWithValue(t, "nogap: Observe: the Observer is nil", func() { nogap.Observe(open(t), nil) })
}

// collected reports whether a pool, which use is given, is garbage once use has returned.
func collected(t *testing.T, use func(db *sql.DB)) (gone *atomic.Bool) {
	t.Helper()
	gone = new(atomic.Bool)
	func() {
		db := fakedb.Open(nil)
		runtime.AddCleanup(db, func(int) { gone.Store(true) }, 0)
		use(db)
		require.NoError(t, db.Close()) // ends the goroutine that refers to it
	}()
	return gone
}

func requireGone(t *testing.T, gone *atomic.Bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Load()
	}, 10*time.Second, time.Millisecond)
}

func TestObserveDoesNotKeepTheDB(t *testing.T) {
	o := new(observer)
	requireGone(t, collected(t, func(db *sql.DB) {
		nogap.Observe(db, o)
		operate(t, bind(t, db, "items"))
	}))
	runtime.KeepAlive(o)
}

// An Observer that refers to its db keeps it, as long as it is registered.
func TestObserverKeepsItsDB(t *testing.T) {
	var stop func()
	gone := collected(t, func(db *sql.DB) { stop = nogap.Observe(db, &observer{db: db}) })
	// A pool that nobody keeps is gone after the same rounds: so the other one would be.
	requireGone(t, collected(t, func(*sql.DB) {}))
	require.False(t, gone.Load())
	stop()
	requireGone(t, gone)
	runtime.KeepAlive(stop)
}

func TestObserveConcurrently(t *testing.T) {
	db := open(t)
	items := bind(t, db, "items")
	always := new(observer)
	nogap.Observe(db, always)
	var wg sync.WaitGroup
	var passing [4][200]observer
	for i := range passing {
		wg.Go(func() {
			for j := range passing[i] {
				stop := nogap.Observe(db, &passing[i][j])
				operate(t, items)
				stop()
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 200 {
				operate(t, items)
			}
		})
	}
	wg.Wait()
	always.require(t, 1600, 1600)
	for i := range passing {
		for j := range passing[i] {
			started := passing[i][j].started.Load()
			require.NotZero(t, started, "its own goroutine's")
			require.Equal(t, started, passing[i][j].ended.Load(), "also those that ended after stop")
		}
	}
}

// Without observers an operation costs nothing that could be measured.
func TestNoObserverAllocatesNothing(t *testing.T) {
	for _, name := range []string{"items", "shop.items"} {
		items := bind(t, open(t), name)
		nogap.Observe(items.DB(), new(observer))()
		ctx := t.Context()
		err := errors.New("its own")
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if got := items.Operation(ctx, "test.Do", func(_ context.Context, op *observe.Op) error {
				op.Attempt(1)
				return err
			}); got != err {
				t.Error(got)
			}
		}), name)
	}
}

func BenchmarkObserve(b *testing.B) {
	for observers := range 3 {
		b.Run(fmt.Sprintf("observers=%d", observers), func(b *testing.B) {
			items := bind(b, open(b), "shop.items")
			for range observers {
				nogap.Observe(items.DB(), new(observer))
			}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				items.Operation(ctx, "test.Do", func(_ context.Context, op *observe.Op) error {
					op.Attempt(1)
					return nil
				})
			}
		})
	}
}
