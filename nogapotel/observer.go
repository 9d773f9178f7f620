package nogapotel

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/nogap-go/nogap"
)

// Observe makes a span and measurements for every operation of nogap on db, until stop is called. It is nogap.Observe with
// an Observer for OpenTelemetry, and may be combined with others. An instrument that the provider can't make is reported to
// otel.Handle, and is left out. Observe panics if db is nil.
func Observe(db *sql.DB, opts ...Option) (stop func()) {
	return nogap.Observe(db, newObserver(newConfig(opts)))
}

// observer is a nogap.Observer that makes spans and measurements.
type observer struct {
	config *config
	tracer trace.Tracer

	duration metric.Float64Histogram
	attempts metric.Int64Histogram
	wait     metric.Float64Histogram
	batch    metric.Int64Histogram

	known sync.Map // from labels to *labelled: as many as operations, tables and outcomes
}

// labels are what the measurements of an operation differ in.
type labels struct {
	operation nogap.Operation
	outcome   nogap.Outcome
	callback  bool // the error is the callback's own
}

// labelled are the attributes that go with labels.
type labelled struct {
	operation metric.MeasurementOption // without the outcome
	outcome   metric.MeasurementOption
	inProcess metric.MeasurementOption // without the outcome, of a wait
	inServer  metric.MeasurementOption
	ended     []attribute.KeyValue // of the span, beside those that it was started with
}

// seconds are the bounds of histograms of time, those that OpenTelemetry's conventions give for databases.
var seconds = metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

func newObserver(c *config) *observer {
	m := c.meters.Meter(scope)
	return &observer{
		config: c,
		tracer: c.tracers.Tracer(scope),
		duration: made(m.Float64Histogram("nogap.operation.duration", metric.WithUnit("s"), seconds,
			metric.WithDescription("Duration of operations."))),
		attempts: made(m.Int64Histogram("nogap.operation.attempts", metric.WithUnit("{attempt}"),
			metric.WithExplicitBucketBoundaries(1, 2, 3, 5, 10, 20, 50),
			metric.WithDescription("Transactions or statements that were begun for an operation."))),
		wait: made(m.Float64Histogram("nogap.operation.wait", metric.WithUnit("s"), seconds,
			metric.WithDescription("Time that operations waited in the process and for locks."))),
		batch: made(m.Int64Histogram("nogap.batch.size", metric.WithUnit("{call}"),
			metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
			metric.WithDescription("Calls that were carried out together."))),
	}
}

// made returns an instrument, which is usable also if there was an error.
func made[I any](instrument I, err error) I {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

// Start implements nogap.Observer.
func (o *observer) Start(ctx context.Context, operation nogap.Operation) (context.Context, func(nogap.Result)) {
	ctx, span := o.start(ctx, operation)
	began := time.Now()
	return ctx, func(r nogap.Result) { o.end(ctx, span, operation, time.Since(began), r) }
}

func (o *observer) start(ctx context.Context, operation nogap.Operation) (context.Context, trace.Span) {
	name := operation.Name
	if operation.Table != "" {
		name += " " + operation.Table
	}
	return o.tracer.Start(ctx, name, trace.WithAttributes(o.attributes(operation)...))
}

// end ends the span of an operation, and measures the operation.
func (o *observer) end(ctx context.Context, span trace.Span, operation nogap.Operation, took time.Duration, r nogap.Result) {
	l := o.labelled(labels{operation, r.Outcome, r.Callback})
	o.duration.Record(ctx, took.Seconds(), l.outcome)
	if r.Attempts > 0 {
		o.attempts.Record(ctx, int64(r.Attempts), l.operation)
	}
	if here := r.Waited - r.WaitedInServer; here > 0 {
		o.wait.Record(ctx, here.Seconds(), l.inProcess)
	}
	if r.WaitedInServer > 0 {
		o.wait.Record(ctx, r.WaitedInServer.Seconds(), l.inServer)
	}
	if r.Batch > 0 {
		o.batch.Record(ctx, int64(r.Batch), l.operation)
	}
	if span.IsRecording() {
		o.describe(span, l, r)
	}
	span.End()
}

func (o *observer) describe(span trace.Span, l *labelled, r nogap.Result) {
	span.SetAttributes(l.ended...)
	span.SetAttributes(
		attribute.Int("nogap.attempts", r.Attempts),
		attribute.Float64("nogap.wait.duration", r.Waited.Seconds()),
		attribute.Float64("nogap.wait.server.duration", r.WaitedInServer.Seconds()),
	)
	if r.Batch > 0 {
		span.SetAttributes(attribute.Int("nogap.batch.size", r.Batch))
	}
	if failed(r.Outcome) {
		text := string(r.Outcome)
		if o.config.errorText {
			text = r.Err.Error()
		}
		span.SetStatus(codes.Error, text)
	}
	if o.config.errorText && r.Err != nil {
		span.RecordError(r.Err)
	}
}

// failed reports whether an operation with the outcome has failed. A refusal and a conflict are answers.
func failed(outcome nogap.Outcome) bool {
	switch outcome {
	case nogap.OutcomeOK, nogap.OutcomeRefused, nogap.OutcomeConflict:
		return false
	}
	return true
}

// labelled returns the attributes that go with l. They are made once.
func (o *observer) labelled(l labels) *labelled {
	if known, ok := o.known.Load(l); ok {
		return known.(*labelled)
	}
	ended := []attribute.KeyValue{attribute.String("nogap.outcome", string(l.outcome))}
	switch {
	case failed(l.outcome) && l.callback:
		ended = append(ended, attribute.String("error.type", "callback"))
	case failed(l.outcome):
		ended = append(ended, attribute.String("error.type", string(l.outcome)))
	}
	operation := o.attributes(l.operation)
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(slices.Clip(operation), more...)...))
	}
	known, _ := o.known.LoadOrStore(l, &labelled{
		operation: with(),
		outcome:   with(ended...),
		inProcess: with(attribute.String("nogap.wait.place", "process")),
		inServer:  with(attribute.String("nogap.wait.place", "server")),
		ended:     ended,
	})
	return known.(*labelled)
}

// attributes returns those that an operation has from its beginning.
func (o *observer) attributes(operation nogap.Operation) []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, len(o.config.attributes)+4)
	list = append(append(list, o.config.attributes...), attribute.String("db.operation.name", operation.Name))
	if operation.Table != "" {
		list = append(list, attribute.String("db.collection.name", operation.Table))
	}
	return list
}
