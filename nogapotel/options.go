package nogapotel

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name under which the spans and the metrics are made.
const scope = "github.com/nogap-go/nogap/nogapotel"

// Option changes what Observe and Locks do. If an option is given twice, the last one counts, except WithAttributes.
type Option interface{ apply(*config) }

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	attributes []attribute.KeyValue
	errorText  bool
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

func newConfig(opts []Option) *config {
	c := &config{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider()}
	for _, o := range opts {
		if o == nil {
			panic("nogapotel: an Option is nil")
		}
		o.apply(c)
	}
	return c
}

// WithTracerProvider makes p the provider of the spans. Without it, the global provider is used. It panics if p is nil.
func WithTracerProvider(p trace.TracerProvider) Option {
	if p == nil {
		panic("nogapotel: WithTracerProvider: the provider is nil; for no spans give that of otel/trace/noop")
	}
	return optionFunc(func(c *config) { c.tracers = p })
}

// WithMeterProvider makes p the provider of the metrics. Without it, the global provider is used. It panics if p is nil.
func WithMeterProvider(p metric.MeterProvider) Option {
	if p == nil {
		panic("nogapotel: WithMeterProvider: the provider is nil; for no metrics give that of otel/metric/noop")
	}
	return optionFunc(func(c *config) { c.meters = p })
}

// WithAttributes adds attributes to every span and every measurement: semconv.DBSystemNamePostgreSQL, for example, or the
// database's name. They must have few different values.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return optionFunc(func(c *config) { c.attributes = append(c.attributes, attributes...) })
}

// WithErrorText records the text of errors in spans. The text may hold the key of a row or the name of a lock.
func WithErrorText() Option {
	return optionFunc(func(c *config) { c.errorText = true })
}
