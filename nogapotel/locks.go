package nogapotel

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
)

// Locks returns options for distlock.New. With them a Locker makes a span and measurements for every operation, and for what
// happens to its leases. An instrument that the provider can't make is reported to otel.Handle, and is left out.
//
//	locks, err := distlock.New(clients, append(nogapotel.Locks(), distlock.TTL(5*time.Second))...)
func Locks(opts ...Option) []distlock.Option {
	l := newLockObserver(newConfig(opts))
	return []distlock.Option{distlock.WithObserver(l), distlock.OnEvent(l.event)}
}

// lockObserver is the Observer of a Locker, which also hears of its events.
type lockObserver struct {
	*observer
	waiting   metric.Int64UpDownCounter
	held      metric.Int64UpDownCounter
	hold      metric.Float64Histogram
	handovers metric.Int64Counter
	renewals  metric.Float64Histogram
	losses    metric.Int64Counter
	lossDelay metric.Float64Histogram
	unqueued  metric.Int64Counter

	common            metric.MeasurementOption
	renewed, unheeded metric.MeasurementOption
}

func newLockObserver(c *config) *lockObserver {
	m := c.meters.Meter(scope)
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(append([]attribute.KeyValue{}, c.attributes...), more...)...))
	}
	return &lockObserver{
		observer: newObserver(c),
		waiting: made(m.Int64UpDownCounter("nogap.lock.waiting", metric.WithUnit("{call}"),
			metric.WithDescription("Calls that have no lock yet."))),
		held: made(m.Int64UpDownCounter("nogap.lock.held", metric.WithUnit("{lease}"),
			metric.WithDescription("Leases that are not unlocked."))),
		hold: made(m.Float64Histogram("nogap.lock.hold", metric.WithUnit("s"), seconds,
			metric.WithDescription("Time from the acquisition of a lease to its Unlock."))),
		handovers: made(m.Int64Counter("nogap.lock.handovers", metric.WithUnit("{handover}"),
			metric.WithDescription("Locks that were passed on in the process."))),
		renewals: made(m.Float64Histogram("nogap.lock.renewals", metric.WithUnit("s"), seconds,
			metric.WithDescription("Duration of extensions of leases."))),
		losses: made(m.Int64Counter("nogap.lock.losses", metric.WithUnit("{lease}"),
			metric.WithDescription("Leases that were lost."))),
		lossDelay: made(m.Float64Histogram("nogap.lock.loss.delay", metric.WithUnit("s"), seconds,
			metric.WithDescription("Time from the end of a lost lease's validity to the end of its context."))),
		unqueued: made(m.Int64Counter("nogap.lock.unqueued", metric.WithUnit("{failure}"),
			metric.WithDescription("Failures to queue or to subscribe on a node."))),
		common:   with(),
		renewed:  with(attribute.Bool("nogap.renewal.failed", false)),
		unheeded: with(attribute.Bool("nogap.renewal.failed", true)),
	}
}

// wait is an operation that has no lock yet.
type wait struct{ over atomic.Bool }

type waitKey struct{}

// Start implements nogap.Observer.
func (l *lockObserver) Start(ctx context.Context, operation nogap.Operation) (context.Context, func(nogap.Result)) {
	ctx, span := l.start(ctx, operation)
	began := time.Now()
	w := new(wait)
	switch operation.Name {
	case "distlock.Lock", "distlock.TryLock", "distlock.WithLock", "distlock.WithLocks":
		l.waiting.Add(ctx, 1, l.common)
	default:
		w.over.Store(true)
	}
	// A lease's context has the values of this one, so what a callback does has a wait too, which is over.
	ctx = context.WithValue(ctx, waitKey{}, w)
	return ctx, func(r nogap.Result) {
		l.over(ctx, w)
		l.end(ctx, span, operation, time.Since(began), r)
	}
}

// over ends a wait.
func (l *lockObserver) over(ctx context.Context, w *wait) {
	if w != nil && w.over.CompareAndSwap(false, true) {
		l.waiting.Add(ctx, -1, l.common)
	}
}

// event measures what happens to a lock. ctx is that of an operation, or has the values of a lease's context, whose span
// has ended if Lock or TryLock made it.
func (l *lockObserver) event(ctx context.Context, e distlock.Event) {
	switch e.Kind {
	case distlock.Acquired:
		w, _ := ctx.Value(waitKey{}).(*wait)
		l.over(ctx, w)
		l.held.Add(ctx, 1, l.common)
		if e.HandedOver {
			l.handovers.Add(ctx, 1, l.common)
		}
	case distlock.Released:
		l.held.Add(ctx, -1, l.common)
		l.hold.Record(ctx, e.Duration.Seconds(), l.common)
	case distlock.Extended:
		how := l.renewed
		if e.Err != nil {
			how = l.unheeded
		}
		l.renewals.Record(ctx, e.Duration.Seconds(), how)
	case distlock.Lost:
		l.losses.Add(ctx, 1, l.common)
		l.lossDelay.Record(ctx, e.Late.Seconds(), l.common)
	case distlock.NotQueued:
		l.unqueued.Add(ctx, 1, l.common)
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{attribute.Float64("nogap.lock.duration", e.Duration.Seconds())}
	if e.Err != nil && l.config.errorText {
		attributes = append(attributes, attribute.String("nogap.lock.error", e.Err.Error()))
	}
	span.AddEvent("lock "+e.Kind.String(), trace.WithAttributes(attributes...))
}
