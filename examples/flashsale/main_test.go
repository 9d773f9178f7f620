package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nogap-go/nogap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tempDir makes dir the place for temporary files for the time of the test.
func tempDir(t *testing.T) (dir string) {
	dir = t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// Every strategy keeps its books, and the safe ones sell exactly what there is.
func TestEveryStrategy(t *testing.T) {
	sizes := []struct {
		name                   string
		buyers, stock, servers string
		sold, refused, left    int64 // by a safe strategy
	}{
		{name: "more buyers than items", buyers: "60", stock: "10", servers: "3", sold: 10, refused: 50, left: 0},
		{name: "more items than buyers", buyers: "10", stock: "60", servers: "2", sold: 10, refused: 0, left: 50},
		{name: "nothing to sell", buyers: "10", stock: "0", servers: "1", sold: 0, refused: 10, left: 0},
		{name: "more servers than buyers", buyers: "1", stock: "1", servers: "50", sold: 1, refused: 0, left: 0},
	}
	for _, st := range strategies {
		for _, size := range sizes {
			t.Run(st.name+"/"+size.name, func(t *testing.T) {
				dir := tempDir(t)
				var stdout, stderr bytes.Buffer
				status := run(t.Context(), []string{"-json", "-strategy", st.name,
					"-buyers", size.buyers, "-stock", size.stock, "-servers", size.servers}, &stdout, &stderr)
				require.Empty(t, stderr.String())
				require.Zero(t, status)

				var results []result
				require.NoError(t, json.Unmarshal(stdout.Bytes(), &results))
				require.Len(t, results, 1)
				r := results[0]
				require.Equal(t, st.name, r.Strategy)
				require.Equal(t, "SQLite", r.Database)
				require.Zero(t, r.Errors)
				require.Equal(t, r.Buyers, r.Sold+r.Refused)
				require.Equal(t, max(0, r.Sold-r.Stock), r.Oversold)
				require.Equal(t, r.Sold-(r.Stock-r.Left), r.LostUpdates)
				require.Positive(t, r.Seconds)
				require.Positive(t, r.P50)
				require.LessOrEqual(t, r.P50, r.P99)
				require.LessOrEqual(t, r.P99, r.Seconds*1000)
				if st.safe {
					require.Equal(t, size.sold, r.Sold)
					require.Equal(t, size.refused, r.Refused)
					require.Equal(t, size.left, r.Left)
					require.Zero(t, r.Oversold)
					require.Zero(t, r.LostUpdates)
				}

				files, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Empty(t, files, "temporary files are left behind")
			})
		}
	}
}

// The demo is worth nothing on the day on which the bug does not show.
func TestUnsafeLosesUpdates(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-json", "-strategy", "unsafe"}, &stdout, &stderr), stderr.String())
	var results []result
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &results))
	require.Len(t, results, 1)
	require.Positive(t, results[0].LostUpdates)
	require.Positive(t, results[0].Oversold)
	require.Zero(t, results[0].Errors)
}

func TestJSONHasExactlyTheseKeysInThisOrder(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-json", "-buyers", "5", "-stock", "2"}, &stdout, &stderr), stderr.String())

	var objects []json.RawMessage
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &objects), "one array and nothing after it")
	require.Len(t, objects, len(strategies))
	for i, object := range objects {
		var keys []string
		dec := json.NewDecoder(bytes.NewReader(object))
		_, err := dec.Token() // {
		require.NoError(t, err)
		for dec.More() {
			key, err := dec.Token()
			require.NoError(t, err)
			keys = append(keys, key.(string))
			var value any
			require.NoError(t, dec.Decode(&value))
			if key == "strategy" {
				require.Equal(t, strategies[i].name, value)
			}
		}
		require.Equal(t, []string{"strategy", "database", "buyers", "stock", "sold", "left", "oversold", "lost_updates",
			"refused", "errors", "seconds", "per_second", "p50_ms", "p99_ms"}, keys)
	}
}

func TestTable(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-strategy", "unsafe", "-buyers", "2", "-stock", "5"}, &stdout, &stderr),
		stderr.String())
	lines := strings.Split(stdout.String(), "\n")
	require.Len(t, lines, 6)
	require.Equal(t, "5 in stock, 2 buyers at once, 4 API servers, SQLite", lines[0])
	require.Empty(t, lines[1])
	require.Equal(t, strings.Fields("strategy sold left oversold lost updates refused errors time purchases/s p50 p99"),
		strings.Fields(lines[2]))
	require.Equal(t, []string{"unsafe", "2"}, strings.Fields(lines[3])[:2])
	require.True(t, strings.HasPrefix(lines[4], "  unsafe sold 2 items of 5."), lines[4])
	require.NotContains(t, stdout.String(), "\x1b", "this is no terminal")
}

func TestBadArguments(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-strategy", "hope"}, `-strategy: there is no "hope", only unsafe, atomic, `},
		{[]string{"-strategy", "unsafe,"}, `-strategy: there is no "", only unsafe, atomic, `},
		{[]string{"-redis", "localhost:1,"}, "-redis: an address is empty"},
		{[]string{"-redis", "localhost:1", "-strategy", "redlock"}, "-redis: redlock needs at least 3 nodes, not 1"},
		{[]string{"-buyers", "0"}, "-buyers 0: at least 1 is needed"},
		{[]string{"-stock", "-1"}, "-stock -1: it cannot be negative"},
		{[]string{"-servers", "0"}, "-servers 0: at least 1 is needed"},
		{[]string{"-buyers", "many"}, `invalid value "many" for flag -buyers`},
		{[]string{"-discount"}, "flag provided but not defined: -discount"},
		{[]string{"unsafe"}, `unexpected argument "unsafe"`},
		{[]string{"-db", "oracle://localhost/shop"}, "-db: want postgres://"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(t.Context(), test.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), test.want)
			require.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-help"}, &stdout, &stderr))
	for _, want := range []string{"-db", "-redis", "-strategy", "-buyers", "-stock", "-servers", "-json"} {
		require.Contains(t, stderr.String(), want)
	}
	for _, st := range strategies {
		require.Contains(t, stderr.String(), st.name)
	}
}

func TestStrategyList(t *testing.T) {
	all, err := chooseStrategies("")
	require.NoError(t, err)
	require.Len(t, all, len(strategies))
	two, err := chooseStrategies("atomic, unsafe")
	require.NoError(t, err)
	require.Len(t, two, 2)
	require.Equal(t, "unsafe", two[1].name)
}

func TestDatabaseOutOfReach(t *testing.T) {
	var stdout, stderr bytes.Buffer
	path := filepath.Join(t.TempDir(), "nowhere", "shop.db")
	require.Equal(t, 1, run(t.Context(), []string{"-db", "sqlite:" + path}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "connect to SQLite")
	require.Empty(t, stdout.String())
}

// sellerFunc is a seller for tests.
type sellerFunc func(ctx context.Context, item int64) (left int64, err error)

func (f sellerFunc) purchase(
	ctx context.Context, item int64, _ func(context.Context) error,
) (left int64, err error) {
	return f(ctx, item)
}

func strategyOf(safe bool, f sellerFunc) strategy {
	return strategy{name: "test", safe: safe, open: func(shop) (seller, error) { return f, nil }}
}

// A strategy that is called safe fails the program when it is not; unsafe may do as it likes.
func TestExitStatusTellsUnsoundFromUnsafe(t *testing.T) {
	failing := func(context.Context, int64) (int64, error) { return 0, errors.New("no paper in the printer") }
	giving := func(context.Context, int64) (int64, error) { return 0, nil } // takes nothing from the stock
	refusing := func(context.Context, int64) (int64, error) { return 0, errSoldOut }
	for _, test := range []struct {
		name  string
		f     sellerFunc
		stock int
		safe  bool
		ok    bool
	}{
		{"safe, errors", failing, 5, true, false},
		{"safe, lost updates", giving, 100, true, false},
		{"safe, oversold", giving, 0, true, false},
		{"safe, sound", refusing, 0, true, true},
		{"unsafe, errors", failing, 5, false, true},
		{"unsafe, oversold", giving, 5, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tempDir(t)
			var stdout bytes.Buffer
			c := config{strategies: []strategy{strategyOf(test.safe, test.f)}, buyers: 10, stock: test.stock, servers: 1}
			ok, err := holdSales(t.Context(), c, &stdout)
			require.NoError(t, err)
			require.Equal(t, test.ok, ok)
		})
	}
}

func TestErrorsAreShown(t *testing.T) {
	tempDir(t)
	var stdout bytes.Buffer
	broken := strategyOf(true, func(context.Context, int64) (int64, error) { return 0, errors.New("no paper") })
	_, err := holdSales(t.Context(), config{strategies: []strategy{broken}, buyers: 3, stock: 1, servers: 1}, &stdout)
	require.NoError(t, err)
	require.Contains(t, stdout.String(), "3 requests failed, the first with: status 500: no paper.")
}

// However a sale ends, its table goes, and the user's own stay.
func TestNothingIsLeftInTheDatabase(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	for _, test := range []struct {
		name string
		ctx  context.Context
		st   strategy
		want error
	}{
		{"sold", t.Context(), strategies[0], nil},
		{"interrupted while buying", interrupted, strategyOf(true, func(ctx context.Context, _ int64) (int64, error) {
			interrupt()
			<-ctx.Done()
			return 0, ctx.Err()
		}), context.Canceled},
		{"the strategy does not start", t.Context(), strategy{name: "test", open: func(shop) (seller, error) {
			return nil, os.ErrPermission
		}}, os.ErrPermission},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := sqliteFile(filepath.Join(t.TempDir(), "mine.db"))
			db, err := d.open(1)
			require.NoError(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), "CREATE TABLE items (id BIGINT)")
			require.NoError(t, err)

			var stdout bytes.Buffer
			_, err = holdSales(test.ctx,
				config{database: &d, strategies: []strategy{test.st}, buyers: 20, stock: 5, servers: 2}, &stdout)
			require.ErrorIs(t, err, test.want)

			var tables string
			require.NoError(t, db.QueryRowContext(t.Context(),
				"SELECT group_concat(name) FROM sqlite_master WHERE type = 'table'").Scan(&tables))
			require.Equal(t, "items", tables)
		})
	}
}

func TestInterruptedBeforeTheStart(t *testing.T) {
	dir := tempDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run(ctx, []string{"-json"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "flashsale: interrupted: ")
	require.Empty(t, stdout.String())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestProgressOnATerminal(t *testing.T) {
	var screen bytes.Buffer
	table := &table{w: &screen, terminal: true}
	var counts tally
	counts.add(true, nil)
	counts.add(false, nil)
	stop := table.follow(sale{strategy: strategy{name: "test"}, buyers: 9, database: database{dialect: nogap.SQLite}}, &counts)
	stop()
	require.Contains(t, screen.String(), "1 sold, 1 refused, 0 errors, of 9 buyers")
	require.True(t, strings.HasSuffix(screen.String(), "\r\x1b[K"), "the line is erased at the end")
}
