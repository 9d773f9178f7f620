//go:build unix

// Package flashsale_test runs the program of examples/flashsale on real servers.
package flashsale_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// result is a row of what -json prints; an unknown or a missing key fails the test.
type result struct {
	Story       string  `json:"story"`
	Strategy    string  `json:"strategy"`
	Database    string  `json:"database"`
	Buyers      int     `json:"buyers"`
	Stock       int     `json:"stock"`
	Sold        int     `json:"sold"`
	Left        int     `json:"left"`
	Oversold    int     `json:"oversold"`
	LostUpdates int     `json:"lost_updates"`
	Refused     int     `json:"refused"`
	Errors      int     `json:"errors"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"per_second"`
	P50ms       float64 `json:"p50_ms"`
	P99ms       float64 `json:"p99_ms"`
}

func TestFlashSale(t *testing.T) {
	program := filepath.Join(t.TempDir(), "flashsale")
	build := exec.Command("go", "build", "-o", program, "./flashsale")
	build.Dir = "../../examples"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	databases := map[string]struct{ name, flag string }{
		"SQLite":     {"SQLite", ""},
		"PostgreSQL": {"PostgreSQL", matrix.Postgres()[0].DSN(t)},
		"MariaDB":    {"MariaDB", mysqlURL(t, matrix.MariaDB()[0].DSN(t))},
	}
	for name, db := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait for their database
			args := []string{"-json", "-story", "all", "-rounds", "1"}
			if db.flag != "" {
				args = append(args, "-db", db.flag)
			}
			var stderr strings.Builder
			run := exec.Command(program, args...)
			run.Stderr = &stderr
			out, err := run.Output()
			require.NoError(t, err, "%s%s", out, &stderr)

			var results []result
			decoder := json.NewDecoder(strings.NewReader(string(out)))
			decoder.DisallowUnknownFields()
			require.NoError(t, decoder.Decode(&results))
			stories := make(map[string]int)
			for _, r := range results {
				stories[r.Story]++
				require.Equal(t, db.name, r.Database)
				require.Equal(t, 500, r.Buyers)
				require.Equal(t, 100, r.Stock)
				require.Zero(t, r.Errors, r.Strategy)
				if r.Strategy == "unsafe" {
					require.Positive(t, r.Oversold, "the bug must show")
					if r.Story != "like" { // whose count is one UPDATE
						require.Positive(t, r.LostUpdates, "the bug must show")
					}
					continue
				}
				require.Equal(t, 100, r.Sold, r.Strategy)
				require.Equal(t, 400, r.Refused, r.Strategy)
				require.Zero(t, r.Left, r.Strategy)
				require.Zero(t, r.LostUpdates, r.Strategy)
				require.Zero(t, r.Oversold, r.Strategy)
			}
			for _, story := range []string{"stock", "wallet", "like"} {
				require.GreaterOrEqual(t, stories[story], 2, story)
			}
		})
	}
}

// mysqlURL returns the DSN of go-sql-driver as the URL that the program takes.
func mysqlURL(tb testing.TB, dsn string) string {
	tb.Helper()
	c, err := mysql.ParseDSN(dsn)
	require.NoError(tb, err)
	require.Equal(tb, "tcp", c.Net)
	user := c.User
	if c.Passwd != "" {
		user += ":" + c.Passwd
	}
	return "mysql://" + user + "@" + c.Addr + "/" + c.DBName
}
