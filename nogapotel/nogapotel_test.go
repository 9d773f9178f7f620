package nogapotel_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	_ "modernc.org/sqlite"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/nogapotel"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// telemetry keeps what is exported in memory.
type telemetry struct {
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	reader *sdkmetric.ManualReader
	opts   []nogapotel.Option
}

func newTelemetry(t *testing.T) *telemetry {
	t.Helper()
	tel := &telemetry{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(tel.spans))
	tel.tracer = traces.Tracer("test")
	tel.opts = []nogapotel.Option{
		nogapotel.WithTracerProvider(traces),
		nogapotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(tel.reader))),
	}
	return tel
}

// points returns the data points of an instrument by their attributes: the sum of a counter, the count of a histogram.
func (tel *telemetry) points(t *testing.T, instrument string) map[string]int64 {
	t.Helper()
	var collected metricdata.ResourceMetrics
	require.NoError(t, tel.reader.Collect(context.WithoutCancel(t.Context()), &collected))
	points := map[string]int64{}
	for _, scope := range collected.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != instrument {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					points[encode(p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					points[encode(p.Attributes)] = int64(p.Count)
				}
			case metricdata.Histogram[int64]:
				for _, p := range data.DataPoints {
					points[encode(p.Attributes)] = int64(p.Count)
				}
			}
		}
	}
	return points
}

func encode(set attribute.Set) string { return set.Encoded(attribute.DefaultEncoder()) }

// attributes returns those of a span.
func attributes(span sdktrace.ReadOnlySpan) map[string]any {
	all := map[string]any{}
	for _, a := range span.Attributes() {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.ExecContext(t.Context(), "CREATE TABLE items (id TEXT PRIMARY KEY, stock BIGINT NOT NULL)")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "INSERT INTO items VALUES ('secret', 2)")
	require.NoError(t, err)
	return db
}

func TestObserve(t *testing.T) {
	tel, db := newTelemetry(t), open(t)
	stop := nogapotel.Observe(db, tel.opts...)
	defer stop()
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	require.NoError(t, err)

	ctx, parent := tel.tracer.Start(t.Context(), "request")
	for range 2 {
		_, err := stock.DecrementIfPositive(ctx, "secret")
		require.NoError(t, err)
	}
	_, err = stock.DecrementIfPositive(ctx, "secret")
	require.ErrorIs(t, err, atomic.ErrInsufficient)
	boom := errors.New("boom with secret")
	err = transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := stock.WithTx(tx).Increment(ctx, 1, "secret")
		return errors.Join(err, boom)
	})
	require.ErrorIs(t, err, boom)
	parent.End()

	spans := tel.spans.Ended()
	require.Len(t, spans, 6)
	names := make([]string, len(spans))
	for i, s := range spans {
		names[i] = s.Name()
	}
	require.Equal(t, []string{
		"atomic.DecrementIfPositive items", "atomic.DecrementIfPositive items", "atomic.DecrementIfPositive items",
		"atomic.Increment items", "transaction.Run", "request",
	}, names)
	ok, refused, inside, run, request := spans[0], spans[2], spans[3], spans[4], spans[5]
	require.Equal(t, request.SpanContext().SpanID(), ok.Parent().SpanID())
	require.Equal(t, run.SpanContext().SpanID(), inside.Parent().SpanID(), "what a callback calls is inside")
	require.Equal(t, map[string]any{
		"db.operation.name": "atomic.DecrementIfPositive", "db.collection.name": "items", "nogap.outcome": "ok",
		"nogap.attempts": int64(1), "nogap.wait.duration": 0.0, "nogap.wait.server.duration": 0.0,
	}, attributes(ok))
	require.Equal(t, "refused", attributes(refused)["nogap.outcome"])
	require.Equal(t, codes.Unset, refused.Status().Code)
	require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "error"}, run.Status())
	require.Equal(t, "callback", attributes(run)["error.type"])
	require.NotContains(t, attributes(run), "db.collection.name")
	for _, s := range spans {
		require.NotContains(t, fmt.Sprint(s.Attributes(), s.Events(), s.Status()), "secret")
	}

	require.Equal(t, map[string]int64{
		"db.collection.name=items,db.operation.name=atomic.DecrementIfPositive,nogap.outcome=ok":      2,
		"db.collection.name=items,db.operation.name=atomic.DecrementIfPositive,nogap.outcome=refused": 1,
		"db.collection.name=items,db.operation.name=atomic.Increment,nogap.outcome=ok":                1,
		"db.operation.name=transaction.Run,error.type=callback,nogap.outcome=error":                   1,
	}, tel.points(t, "nogap.operation.duration"))
	require.Equal(t, map[string]int64{
		"db.collection.name=items,db.operation.name=atomic.DecrementIfPositive": 3,
		"db.collection.name=items,db.operation.name=atomic.Increment":           1,
		"db.operation.name=transaction.Run":                                     1,
	}, tel.points(t, "nogap.operation.attempts"))
	require.Empty(t, tel.points(t, "nogap.operation.wait"))

	stop()
	_, err = stock.Get(t.Context(), "secret")
	require.NoError(t, err)
	require.Len(t, tel.spans.Ended(), 6)
}

func TestBatch(t *testing.T) {
	tel, db := newTelemetry(t), open(t)
	defer nogapotel.Observe(db, append(tel.opts, nogapotel.WithAttributes(attribute.String("db.system.name", "sqlite")))...)()
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	require.NoError(t, err)
	hot := atomic.Coalesce(stock)
	const callers = 20
	done := make(chan error)
	for range callers {
		go func() {
			_, err := hot.Increment(t.Context(), 1, "secret")
			done <- err
		}()
	}
	for range callers {
		require.NoError(t, <-done)
	}
	require.NoError(t, hot.Close())
	const operation = "db.collection.name=items,db.operation.name=atomic.Increment,db.system.name=sqlite"
	require.Equal(t, map[string]int64{operation: callers}, tel.points(t, "nogap.batch.size"))
	require.Equal(t, map[string]int64{operation + ",nogap.outcome=ok": callers}, tel.points(t, "nogap.operation.duration"))
}

// Time that is waited in the process is measured apart from that in the server.
func TestWait(t *testing.T) {
	tel, db := newTelemetry(t), open(t)
	defer nogapotel.Observe(db, tel.opts...)()
	type item struct {
		ID    string `db:"id"`
		Stock int64  `db:"stock"`
	}
	row := pessimistic.Row{Table: "items", Key: "secret"}
	inside, done := make(chan struct{}), make(chan error)
	go func() {
		done <- pessimistic.WithRowLock(t.Context(), db, row, func(context.Context, *sqlx.Tx, *item) error {
			inside <- struct{}{}
			<-inside
			return nil
		})
	}()
	<-inside
	err := pessimistic.WithRowLock(t.Context(), db, row, func(context.Context, *sqlx.Tx, *item) error { return nil }, pessimistic.Timeout(time.Millisecond))
	require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
	inside <- struct{}{}
	require.NoError(t, <-done)
	const operation = "db.collection.name=items,db.operation.name=pessimistic.WithRowLock"
	require.Equal(t, map[string]int64{
		operation + ",nogap.wait.place=process": 1, // the second one's
		operation + ",nogap.wait.place=server":  1, // the first one's statement that locks the row
	}, tel.points(t, "nogap.operation.wait"))
}

func TestErrorText(t *testing.T) {
	tel, db := newTelemetry(t), open(t)
	defer nogapotel.Observe(db, append(tel.opts, nogapotel.WithErrorText())...)()
	boom := errors.New("boom with secret")
	err := transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error { return boom })
	require.ErrorIs(t, err, boom)
	span := tel.spans.Ended()[0]
	require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "boom with secret"}, span.Status())
	require.Len(t, span.Events(), 1)
	require.Equal(t, "exception", span.Events()[0].Name)
}

func newLocks(t *testing.T, tel *telemetry, opts ...distlock.Option) (*distlock.Locker, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	opts = append(opts, distlock.NodeTimeout(2*time.Second)) // a busy machine may be slow, but is in order
	locks, err := distlock.New([]redis.UniversalClient{client}, append(nogapotel.Locks(tel.opts...), opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { locks.Close() })
	return locks, server
}

func TestLocks(t *testing.T) {
	tel := newTelemetry(t)
	locks, _ := newLocks(t, tel, distlock.HandOver(time.Minute))
	one := func(instrument string) int64 { return tel.points(t, instrument)[""] }

	lease, err := locks.Lock(t.Context(), "secret")
	require.NoError(t, err)
	require.EqualValues(t, 1, one("nogap.lock.held"))
	require.EqualValues(t, 0, one("nogap.lock.waiting"))

	next := make(chan *distlock.Lease)
	go func() {
		lease, _ := locks.Lock(t.Context(), "secret")
		next <- lease
	}()
	require.Eventually(t, func() bool { return one("nogap.lock.waiting") == 1 }, time.Minute, time.Millisecond)
	_, err = locks.TryLock(t.Context(), "secret")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.EqualValues(t, 1, one("nogap.lock.waiting"))
	require.NoError(t, lease.Unlock(t.Context()))
	lease = <-next
	require.NotNil(t, lease)
	require.EqualValues(t, 1, one("nogap.lock.held"))
	require.EqualValues(t, 0, one("nogap.lock.waiting"))
	require.NoError(t, lease.Unlock(t.Context()))
	require.EqualValues(t, 0, one("nogap.lock.held"))
	require.EqualValues(t, 2, one("nogap.lock.hold"))

	err = locks.WithLocks(t.Context(), []string{"a", "secret"}, func(ctx context.Context, _ []*distlock.Lease) error {
		require.EqualValues(t, 2, one("nogap.lock.held"))
		require.EqualValues(t, 0, one("nogap.lock.waiting"))
		require.True(t, trace.SpanFromContext(ctx).IsRecording())
		return nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 0, one("nogap.lock.held"))

	durations := tel.points(t, "nogap.operation.duration")
	require.EqualValues(t, 2, durations["db.operation.name=distlock.Lock,nogap.outcome=ok"])
	require.EqualValues(t, 1, durations["db.operation.name=distlock.TryLock,nogap.outcome=refused"])
	require.EqualValues(t, 1, durations["db.operation.name=distlock.WithLocks,nogap.outcome=ok"])
	var events []string
	for _, s := range tel.spans.Ended() {
		require.NotContains(t, fmt.Sprint(s.Attributes(), s.Events(), s.Status()), "secret")
		for _, e := range s.Events() {
			events = append(events, s.Name()+": "+e.Name)
		}
	}
	require.Contains(t, events, "distlock.Lock: lock acquired")
	require.Contains(t, events, "distlock.WithLocks: lock released")
}

// atStart is an Observer that calls itself when an operation begins.
type atStart func(nogap.Operation)

func (f atStart) Start(ctx context.Context, o nogap.Operation) (context.Context, func(nogap.Result)) {
	f(o)
	return ctx, func(nogap.Result) {}
}

// Who looks at a lock, breaks it or gives it back waits for none.
func TestWaiting(t *testing.T) {
	tel := newTelemetry(t)
	waiting := map[string]int64{}
	locks, _ := newLocks(t, tel, distlock.WithObserver(atStart(func(o nogap.Operation) {
		waiting[o.Name] = tel.points(t, "nogap.lock.waiting")[""]
	})))
	lease, err := locks.TryLock(t.Context(), "secret")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
	require.ErrorIs(t, locks.Break(t.Context(), "secret"), distlock.ErrNotHeld)
	_, err = locks.Inspect(t.Context(), "secret")
	require.NoError(t, err)
	require.Equal(t, map[string]int64{
		"distlock.TryLock": 1, "distlock.Unlock": 0, "distlock.Break": 0, "distlock.Inspect": 0,
	}, waiting)
}

// A handover needs no Redis.
func TestHandOver(t *testing.T) {
	tel := newTelemetry(t)
	locks, _ := newLocks(t, tel, distlock.HandOver(time.Minute))
	const callers = 10
	done := make(chan error)
	for range callers {
		go func() {
			done <- locks.WithLock(t.Context(), "secret", func(context.Context, *distlock.Lease) error { return nil })
		}()
	}
	for range callers {
		require.NoError(t, <-done)
	}
	acquired := tel.points(t, "nogap.lock.hold")[""]
	require.EqualValues(t, callers, acquired)
	require.LessOrEqual(t, tel.points(t, "nogap.lock.handovers")[""], int64(callers-1))
	require.Zero(t, tel.points(t, "nogap.lock.held")[""])
	require.Zero(t, tel.points(t, "nogap.lock.waiting")[""])
}

func TestLoss(t *testing.T) {
	tel := newTelemetry(t)
	locks, server := newLocks(t, tel, distlock.TTL(8*time.Second))
	lease, err := locks.Lock(t.Context(), "secret")
	require.NoError(t, err)
	server.FlushAll()
	<-lease.Context().Done()
	require.ErrorIs(t, context.Cause(lease.Context()), distlock.ErrLost)
	require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
	// The loss, and then the extension that found it, are told a moment after the context of the lease has ended.
	failed := func() int64 { return tel.points(t, "nogap.lock.renewals")["nogap.renewal.failed=true"] }
	losses := func() int64 { return tel.points(t, "nogap.lock.losses")[""] }
	require.Eventually(t, func() bool { return failed() > 0 && losses() > 0 }, time.Minute, time.Millisecond)
	require.EqualValues(t, 1, losses())
	require.EqualValues(t, 1, tel.points(t, "nogap.lock.loss.delay")[""])
	require.EqualValues(t, 0, tel.points(t, "nogap.lock.held")[""])
}

func TestRefuses(t *testing.T) {
	for want, f := range map[string]func(){
		"nogap: Observe: db is nil":                          func() { nogapotel.Observe(nil) },
		"nogapotel: an Option is nil":                        func() { nogapotel.Locks(nil) },
		"nogapotel: WithTracerProvider: the provider is nil": func() { nogapotel.WithTracerProvider(nil) },
		"nogapotel: WithMeterProvider: the provider is nil":  func() { nogapotel.WithMeterProvider(nil) },
	} {
		func() {
			defer func() { require.True(t, strings.HasPrefix(fmt.Sprint(recover()), want), want) }()
			f()
		}()
	}
}
