//go:build unix

// Package observe_test measures what it costs to observe a Counter, for one caller:
//
//	go test -C benchmarks -run '^$' -bench . ./observe
//
// time-ratio is the time with the observer divided by that without.
package observe_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/benchmarks/pair"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/nogapotel"
)

func TestMain(m *testing.M) { servers.Main(m) }

var schema = []string{
	"CREATE TABLE items (id int PRIMARY KEY, stock bigint NOT NULL)",
	"INSERT INTO items VALUES (1, 0)",
}

type nothing struct{}

func (nothing) Start(ctx context.Context, _ nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(nogap.Result) {}
}

func meters() nogapotel.Option {
	return nogapotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())))
}

// dropped ends the way of the spans that were sampled.
type dropped struct{ sdktrace.SpanExporter }

func (dropped) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (dropped) Shutdown(context.Context) error                             { return nil }

func BenchmarkObserved(b *testing.B) {
	observers := []struct {
		name    string
		observe func(b *testing.B, db *sql.DB) (stop func())
	}{
		{"no-op", func(_ *testing.B, db *sql.DB) func() { return nogap.Observe(db, nothing{}) }},
		{"metrics", func(_ *testing.B, db *sql.DB) func() {
			return nogapotel.Observe(db, meters(), nogapotel.WithTracerProvider(noop.NewTracerProvider()))
		}},
		{"metrics and 1 % of the spans", func(b *testing.B, db *sql.DB) func() {
			traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropped{}), sdktrace.WithSampler(sdktrace.TraceIDRatioBased(0.01)))
			b.Cleanup(func() { traces.Shutdown(context.Background()) })
			return nogapotel.Observe(db, meters(), nogapotel.WithTracerProvider(traces))
		}},
	}
	pair.EachServer(b, schema, func(b *testing.B, dsn string) {
		for _, o := range observers {
			b.Run(o.name, func(b *testing.B) {
				plain, observed := pair.Open(b, dsn), pair.Open(b, dsn)
				defer o.observe(b, observed.DB)()
				p := pair.Pair{ByHand: increment(b, plain), Nogap: increment(b, observed), Name: "observed"}
				p.OneCaller(b, plain)
			})
		}
	})
}

// increment returns a call of a Counter on db.
func increment(b *testing.B, db *sqlx.DB) func(context.Context, *sqlx.DB) error {
	b.Helper()
	stock, err := atomic.NewCounter[int64](db.DB, "items", "stock")
	require.NoError(b, err)
	return func(ctx context.Context, _ *sqlx.DB) error {
		_, err := stock.Increment(ctx, 1, 1)
		return err
	}
}
