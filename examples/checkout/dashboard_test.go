//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	queries "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/nogapotel"
)

// TestDashboard has a Prometheus scrape the checkouts under load. Each query of the dashboard returns numbers, and each
// alert of docs/operations.md is one that Prometheus accepts.
func TestDashboard(t *testing.T) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	sellForEver(ctx, t, &load, nogapotel.WithMeterProvider(provider))
	lockForEver(ctx, t, &load, nogapotel.WithMeterProvider(provider))
	defer load.Wait()
	defer stop()
	shop := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer shop.Close()

	prometheus := startPrometheus(t, strings.TrimPrefix(shop.URL, "http://"))
	ask := func(query string) ([]float64, error) { return instant(prometheus, query) }
	_, err = ask("this is no query(")
	require.ErrorContains(t, err, "parse error")
	left := map[string]string{} // queries to the titles of their panels
	panels := readDashboard(t).Panels
	for _, p := range panels {
		for _, target := range p.Panel.Targets {
			left[variables.Replace(target.(*queries.Dataquery).Expr)] = *p.Panel.Title
		}
	}
	require.Greater(t, len(left), 12)
	for query := range left {
		_, err := ask(query)
		require.NoError(t, err, query)
	}
	require.Eventually(t, func() bool {
		for query := range left {
			numbers, _ := ask(query)
			for _, n := range numbers {
				if !math.IsNaN(n) && !math.IsInf(n, 0) {
					delete(left, query)
				}
			}
		}
		return len(left) == 0
	}, 5*time.Minute, 100*time.Millisecond, "%v", left)
	drawDashboard(t, prometheus, panels)

	operations, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	alerts := regexp.MustCompile("(?m)^\\| [^|]+ \\| `(.*?nogap_.*?)` \\|").FindAllStringSubmatch(string(operations), -1)
	require.Greater(t, len(alerts), 8)
	for _, alert := range alerts {
		_, err := ask(strings.ReplaceAll(alert[1], `\|`, "|"))
		require.NoError(t, err, alert[1])
	}
}

// variables are those of the dashboard.
var variables = strings.NewReplacer("$__rate_interval", "10s", "$job", "checkout")

// readDashboard reads docs/grafana.json as the schema of Grafana has it.
//
//lint:ignore SA1019 "Import dashboard" takes this version in every Grafana
func readDashboard(t *testing.T) (d dashboard.Dashboard) {
	t.Helper()
	text, err := os.ReadFile("../../docs/grafana.json")
	require.NoError(t, err)
	cog.NewRuntime().RegisterPanelcfgVariant(timeseries.VariantConfig())
	cog.NewRuntime().RegisterDataqueryVariant(queries.VariantConfig())
	require.Contains(t, misfits([]byte(strings.Replace(string(text), `"showLegend"`, `"legendary"`, 1))), "legend", "what does not fit is seen")
	require.Empty(t, misfits(text))
	require.NoError(t, json.Unmarshal(text, &d))
	require.NoError(t, d.Validate())
	return d
}

// misfits says what of a dashboard does not fit to the schema. The error of the library is not nil if that is nothing.
func misfits(text []byte) string {
	//lint:ignore SA1019 see readDashboard
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict(text); err != nil {
		return err.Error()
	}
	return ""
}

// sellForEver checks out all orders again and again, with a few callers of a hot row beside them, and writes whose answer is lost.
func sellForEver(ctx context.Context, t *testing.T, load *sync.WaitGroup, meters nogapotel.Option) {
	db, _ := open(t)
	stopObserving := nogapotel.Observe(db.DB, meters)
	require.NoError(t, fill(ctx, db))
	_, err := db.ExecContext(ctx, "INSERT INTO items VALUES ('hot', 1, 1000000)")
	require.NoError(t, err)
	counter, err := atomic.NewCounter[int64](db.DB, "items", "stock", atomic.WithKey("sku"))
	require.NoError(t, err)
	hot := atomic.Coalesce(counter)
	silent := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, "UPDATE") {
			return fakedb.Reply{}, io.ErrUnexpectedEOF
		}
		return fakedb.Row(int64(1)), nil
	})
	stopUnknown := nogapotel.Observe(silent, meters)
	lost, err := atomic.NewCounter[int64](silent, "items", "stock", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	t.Cleanup(func() { stopObserving(); stopUnknown(); silent.Close() })

	load.Go(func() {
		for ctx.Err() == nil {
			err := again(ctx, db)
			if err == nil {
				_, err = sell(ctx, db.DB)
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			pause(ctx, 200*time.Millisecond)
		}
	})
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				_, _ = hot.Decrement(ctx, 1, "hot")
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
	load.Go(func() {
		for ctx.Err() == nil {
			if _, err := lost.Decrement(ctx, 1, 1); !errors.Is(err, nogap.ErrOutcomeUnknown) && ctx.Err() == nil {
				t.Error(err)
			}
			pause(ctx, 200*time.Millisecond)
		}
	})
}

// again has everything as it was before the first checkout.
func again(ctx context.Context, db *sqlx.DB) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf(`UPDATE orders SET status = 'pending', discount = 0, total = NULL, invoice = NULL;
		UPDATE items SET stock = %d WHERE sku <> 'hot'; UPDATE wallets SET balance = %d; UPDATE coupons SET used = 0;
		DELETE FROM invoice_numbers`, stock, balance))
	return err
}

// lockForEver has callers take turns at a lock, which now and then is lost, on a Redis that lets nobody subscribe.
func lockForEver(ctx context.Context, t *testing.T, load *sync.WaitGroup, meters nogapotel.Option) {
	redisServer := miniredis.RunT(t)
	redisServer.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if strings.Contains(cmd, "SUBSCRIBE") {
			c.WriteError("NOPERM")
			return true
		}
		return false
	})
	client := redis.NewClient(&redis.Options{Addr: redisServer.Addr()})
	t.Cleanup(func() { client.Close() })
	for range 2 { // processes
		locks, err := distlock.New([]redis.UniversalClient{client}, append(nogapotel.Locks(meters), distlock.TTL(400*time.Millisecond),
			distlock.NodeTimeout(100*time.Millisecond))...)
		require.NoError(t, err)
		t.Cleanup(func() { locks.Close() })
		for range 2 {
			load.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					err := locks.WithLock(ctx, "report", func(ctx context.Context, _ *distlock.Lease) error {
						if n%5 == 4 {
							redisServer.FlushAll()
						}
						pause(ctx, time.Duration(10+n%5*100)*time.Millisecond)
						return nil
					})
					if err != nil { // on a machine that is too slow for the TTL: don't make it slower
						pause(ctx, 100*time.Millisecond)
					}
				}
			})
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// startPrometheus starts one that scrapes the target as the job "checkout", and returns its URL.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, []byte(`
scrape_configs:
  - job_name: checkout
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ["`+target+`"]}]
`), 0o600))
	address, ended := runPrometheus(t, config, filepath.Join(dir, "data"))
	require.Eventually(t, func() bool {
		select {
		case <-ended: // somebody else may have taken its port meanwhile
			address, ended = runPrometheus(t, config, filepath.Join(dir, "data"))
		default:
		}
		response, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			response.Body.Close()
		}
		return err == nil && response.StatusCode == http.StatusOK
	}, 5*time.Minute, 50*time.Millisecond)
	return "http://" + address
}

// instant asks for the values that a query has now.
func instant(base, query string) (numbers []float64, err error) {
	var series []struct{ Value [2]any }
	if err := askPrometheus(base+"/api/v1/query", url.Values{"query": {query}}, &series); err != nil {
		return nil, err
	}
	for _, s := range series {
		n, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// askPrometheus reads the series of an answer.
func askPrometheus(address string, question url.Values, series any) error {
	response, err := http.Get(address + "?" + question.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result json.RawMessage }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data.Result, series)
}
