// Command metrics is a small shop under load whose operations and locks are shown to Prometheus:
//
//	go run -C examples ./metrics
//	curl http://127.0.0.1:2112/metrics
//
// Its database is a temporary SQLite file and its Redis runs in the process, so there is nothing to install. docs/grafana.json is
// a dashboard for what it shows. To copy: observe.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	_ "modernc.org/sqlite"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/nogapotel"
	"github.com/nogap-go/nogap/optimistic"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:2112", "where to serve /metrics")
	length := flag.Duration("for", 0, "how long to run; 0 is until it is interrupted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	if err := run(ctx, *listen, func(url string) { fmt.Println("metrics at", url) }); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}

// observe shows what nogap does on db to Prometheus and to the log. The options it returns do the same for a
// distlock.Locker.
func observe(db *sql.DB, registry prometheus.Registerer) (locks []distlock.Option, stop func(), err error) {
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, nil, err
	}
	meters := nogapotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	stopMetrics := nogapotel.Observe(db, meters)
	stopLog := nogap.Observe(db, nogap.LogObserver(slog.Default()))
	locks = append(nogapotel.Locks(meters), distlock.OnEvent(distlock.LogEvents(slog.Default())))
	return locks, func() { stopLog(); stopMetrics() }, nil
}

// run serves the metrics of a shop under load until ctx ends. It calls ready with their URL.
func run(ctx context.Context, listen string, ready func(url string)) error {
	dir, err := os.MkdirTemp("", "nogap-metrics")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "shop.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	defer db.Close()
	registry := prometheus.NewRegistry()
	options, stop, err := observe(db, registry)
	if err != nil {
		return err
	}
	defer stop()
	server, err := miniredis.Run()
	if err != nil {
		return err
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	locks, err := distlock.New([]redis.UniversalClient{client}, append(options, distlock.NodeTimeout(time.Second))...)
	if err != nil {
		return err
	}
	defer locks.Close()
	s, err := open(ctx, db, locks)
	if err != nil {
		return err
	}

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go web.Serve(listener)
	defer web.Close()
	ready("http://" + listener.Addr().String() + "/metrics")
	return s.load(ctx)
}

// Item is a row of the table items.
type Item struct {
	ID      string `db:"id"`
	Name    string `db:"name"`
	Stock   int64  `db:"stock"`
	Version int64  `db:"version"`
}

type shop struct {
	stock *atomic.Counter[int64]
	hot   *atomic.Coalescer[int64]
	items *optimistic.Table[Item]
	locks *distlock.Locker
}

func open(ctx context.Context, db *sql.DB, locks *distlock.Locker) (*shop, error) {
	for _, statement := range []string{
		"CREATE TABLE items (id TEXT PRIMARY KEY, name TEXT NOT NULL, stock BIGINT NOT NULL, version BIGINT NOT NULL)",
		"INSERT INTO items VALUES ('sku-1', 'a', 1000, 1), ('sku-2', 'b', 1000, 1)",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
	if err != nil {
		return nil, err
	}
	items, err := optimistic.NewTable[Item](db, "items")
	if err != nil {
		return nil, err
	}
	return &shop{stock, atomic.Coalesce(stock), items, locks}, nil
}

// load has everybody buy, edit and report until ctx ends. What fails is in the log and in the metrics, and the shop goes on.
func (s *shop) load(ctx context.Context) error {
	var wg sync.WaitGroup
	start := func(callers int, do func(context.Context) error) {
		for range callers {
			wg.Go(func() {
				for ctx.Err() == nil {
					if do(ctx) != nil {
						pause(ctx, 100*time.Millisecond)
					}
				}
			})
		}
	}
	start(8, s.buy)
	start(2, s.edit)
	start(2, s.report)
	wg.Wait()
	return s.hot.Close()
}

// buy takes a few pieces, which may be refused. Then the store is filled up.
func (s *shop) buy(ctx context.Context) error {
	_, err := s.hot.Decrement(ctx, 1+rand.Int64N(3), "sku-1")
	if errors.Is(err, atomic.ErrInsufficient) {
		_, err = s.stock.Increment(ctx, 1000, "sku-1")
	}
	return err
}

// edit reads an item and writes it a moment later: at times somebody was faster.
func (s *shop) edit(ctx context.Context) error {
	item, err := s.items.Get(ctx, "sku-2")
	if err != nil {
		return err
	}
	item.Name = fmt.Sprint("name ", rand.IntN(1000))
	pause(ctx, 10*time.Millisecond)
	if err = s.items.Update(ctx, item); errors.Is(err, optimistic.ErrVersionConflict) {
		return nil
	}
	return err
}

// report works for a moment under a lock.
func (s *shop) report(ctx context.Context) error {
	return s.locks.WithLock(ctx, "report", func(ctx context.Context, _ *distlock.Lease) error {
		pause(ctx, 20*time.Millisecond)
		return nil
	})
}

// pause is work that takes a while.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
