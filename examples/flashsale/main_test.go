package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// asProgram makes the test binary the program, for tests of how a process ends.
const asProgram = "FLASHSALE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// tempDir makes dir the place for temporary files for the time of the test.
func tempDir(t *testing.T) (dir string) {
	dir = t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// Every strategy keeps its books, and the safe ones sell exactly what there is.
func TestEveryStrategy(t *testing.T) {
	sizes := []struct {
		name                           string
		buyers, stock, servers, rounds string
		sold, refused, left            int64 // by a safe strategy
	}{
		{name: "more buyers than items", buyers: "60", stock: "10", servers: "3", rounds: "2", sold: 10, refused: 50, left: 0},
		{name: "more items than buyers", buyers: "10", stock: "60", servers: "2", rounds: "1", sold: 10, refused: 0, left: 50},
		{name: "nothing to sell", buyers: "10", stock: "0", servers: "1", rounds: "1", sold: 0, refused: 10, left: 0},
		{name: "more servers than buyers", buyers: "1", stock: "1", servers: "50", rounds: "1", sold: 1, refused: 0, left: 0},
	}
	eachStrategy(t, func(t *testing.T, story *story, st strategy) {
		for _, size := range sizes {
			if story == likeStory && size.stock == "0" {
				continue // refused: see TestBadArguments
			}
			if story != stockStory && size.servers == "50" {
				continue // it is the same code
			}
			t.Run(size.name, func(t *testing.T) {
				dir := tempDir(t)
				var stdout, stderr bytes.Buffer
				status := run(t.Context(), []string{"-json", "-story", story.name, "-strategy", st.name, "-rounds", size.rounds,
					"-buyers", size.buyers, "-stock", size.stock, "-servers", size.servers}, &stdout, &stderr)
				require.Equal(t, story.name+": "+st.name+"\n", stderr.String())
				require.Zero(t, status)

				var results []result
				require.NoError(t, json.Unmarshal(stdout.Bytes(), &results))
				require.Len(t, results, 1)
				r := results[0]
				require.Equal(t, story.name, r.Story)
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
	})
}

// The demo is worth nothing on the day on which the bug does not show.
func TestUnsafeShowsTheBug(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-json", "-story", "all", "-strategy", "unsafe", "-rounds", "1"}, &stdout, &stderr),
		stderr.String())
	var results []result
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &results))
	require.Len(t, results, 3)
	for _, r := range results {
		require.Positive(t, r.Oversold, r.Story)
		require.Zero(t, r.Errors, r.Story)
		if r.Story != "like" { // where the count is one UPDATE, and right
			require.Positive(t, r.LostUpdates, r.Story)
		}
	}
}

func TestJSONHasExactlyTheseKeysInThisOrder(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-json", "-story", "all", "-buyers", "5", "-stock", "2", "-rounds", "1"}, &stdout, &stderr), stderr.String())

	var objects []json.RawMessage
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &objects), "one array and nothing after it")
	var want []string
	for _, story := range stories {
		for _, st := range story.strategies {
			want = append(want, story.name+" "+st.name)
		}
	}
	require.Len(t, objects, len(want))
	for i, object := range objects {
		var keys []string
		var story string
		dec := json.NewDecoder(bytes.NewReader(object))
		_, err := dec.Token() // {
		require.NoError(t, err)
		for dec.More() {
			key, err := dec.Token()
			require.NoError(t, err)
			keys = append(keys, key.(string))
			var value any
			require.NoError(t, dec.Decode(&value))
			switch key {
			case "story":
				story = value.(string)
			case "strategy":
				require.Equal(t, want[i], story+" "+value.(string))
			}
		}
		require.Equal(t, []string{"story", "strategy", "database", "buyers", "stock", "sold", "left", "oversold", "lost_updates",
			"refused", "errors", "seconds", "per_second", "p50_ms", "p99_ms"}, keys)
	}
}

func TestTable(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-strategy", "atomic", "-buyers", "2", "-stock", "5", "-rounds", "1"}, &stdout, &stderr),
		stderr.String())
	lines := strings.Split(stdout.String(), "\n")
	require.Len(t, lines, 7)
	require.Equal(t, `2 buyers press "buy" at once. 5 pieces are in stock.`, lines[0])
	require.Equal(t, "4 API servers on SQLite. A row is one sale.", lines[1])
	require.Contains(t, lines[2], "no sleep in the gap")
	require.Empty(t, lines[3])
	require.Equal(t, strings.Fields("strategy sold left req/s p50 p99 verdict"), strings.Fields(lines[4]))
	require.Equal(t, []string{"atomic", "2", "3"}, strings.Fields(lines[5])[:3])
	require.True(t, strings.HasSuffix(lines[5], "  ✓ sold 2 of 5"), lines[5])
	require.Empty(t, lines[6])
}

// Everything in a pipe is plain text of at most 80 columns: the three stories, with their races.
func TestTableFits80Columns(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-story", "all", "-rounds", "1", "-buyers", "60", "-stock", "10"}, &stdout, &stderr),
		stderr.String())
	require.Empty(t, stderr.String())
	require.NotContains(t, stdout.String(), "\x1b", "this is no terminal")
	requireNarrow(t, stdout.String())
	for _, want := range []string{"✗ oversold ", "✓ sold exactly 10\n", " · both sell\n", "\nUse atomic for a number in one row: ",
		" paid again\n", "✓ 10 paid once\n", " · both pay\n", "\nUse atomic for the balance alone.",
		" liked again\n", "✓ 10 liked once\n", " · both like\n", "\nUse atomic.Set for "} {
		require.Contains(t, stdout.String(), want)
	}

	// The longest row of the demo.
	stdout.Reset()
	(&table{w: &stdout}).row(outcome{result: result{Strategy: "optimistic-coalesced", Sold: 100, Stock: 100, Left: -400,
		PerSecond: 1234567, P50: 123.4, P99: 12345, words: &stockStory.words}})
	require.Equal(t, "optimistic-coalesced   100  -400 1,234,567   123 ms  12.35 s  ✓ sold exactly 100\n", stdout.String())
	requireNarrow(t, stdout.String())
}

func requireNarrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    ")
		require.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
		require.Equal(t, strings.TrimRight(line, " "), line)
	}
}

func TestHelpFits80Columns(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-help"}, &stdout, &stderr))
	requireNarrow(t, stderr.String())
}

// What is said of speeds is what was measured.
func TestAdvice(t *testing.T) {
	say := func(unsafe, atomic, coalesced float64) string {
		speeds := map[string]float64{"unsafe": unsafe, "atomic": atomic, "atomic-coalesced": coalesced}
		return strings.Join(stockStory.advice(func(strategy string) float64 { return speeds[strategy] }), " ")
	}
	require.Contains(t, say(1, 2, 5), "atomic-coalesced, here 2.5 × as fast as atomic.")
	require.NotContains(t, say(1, 2, 5), "wrong")
	require.Contains(t, say(3, 2, 1), "unsafe was faster here than atomic, with answers that are wrong.")
	require.NotContains(t, say(3, 2, 1), "coalesced")
	require.NotContains(t, say(3, 0, 0), "faster")
}

func TestColour(t *testing.T) {
	o := outcome{result: result{Sold: 5, Stock: 1, Oversold: 4, words: &stockStory.words}}
	for colour, want := range map[bool]string{true: "\x1b[31m✗ oversold 4\x1b[0m\n", false: "  ✗ oversold 4\n"} {
		var screen bytes.Buffer
		(&table{w: &screen, colour: colour}).row(o)
		require.Contains(t, screen.String(), want)
	}
	t.Setenv("NO_COLOR", "1")
	require.False(t, newTable(screen{stdout: os.Stdout}).colour)
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
		{[]string{"-strategy", "idempotency"}, "optimistic-coalesced; -story wallet has it\n"},
		{[]string{"-story", "rain"}, `-story: there is no "rain", only stock, wallet, like and all`},
		{[]string{"-rounds", "-1"}, "-rounds -1: at least 1 is needed"},
		{[]string{"-rounds", "0"}, "-rounds 0: at least 1 is needed; without the flag it is as often as 3 s allow"},
		{[]string{"-buyers", "-5"}, "-buyers -5: at least 1 is needed"},
		{[]string{"-servers", "-1"}, "-servers -1: at least 1 is needed"},
		{[]string{"-story", "like", "-stock", "0"}, "-stock 0: at least one user must like the post"},
		{[]string{"-buyers", "0"}, "-buyers 0: at least 1 is needed"},
		{[]string{"-stock", "-1"}, "-stock -1: at least 0 is needed"},
		{[]string{"-servers", "0"}, "-servers 0: at least 1 is needed"},
		{[]string{"-buyers", "many"}, `invalid value "many" for flag -buyers`},
		{[]string{"-discount"}, "flag provided but not defined: -discount"},
		{[]string{"unsafe"}, `unexpected argument "unsafe"`},
		{[]string{"-db", "oracle://localhost/shop"}, "-db: want a URL: postgres://"},
		{[]string{"-redis", "redis://localhost:1", "-strategy", "redis-lock"}, "-redis: want host:port, such as localhost:6379"},
		{[]string{"-redis", "localhost", "-strategy", "redis-lock"}, "-redis: want host:port, such as localhost:6379"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(t.Context(), test.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), test.want)
			require.Contains(t, stderr.String(), "See the flags with: go run -C examples ./flashsale -help\n")
			require.Empty(t, stdout.String())
		})
	}
}

// Nothing listens at the address. The program says so in one line before it sells anything.
func TestRedisOutOfReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-redis", addr, "-strategy", "unsafe,redis-lock"}, &stdout, &stderr))
	require.Regexp(t, "^flashsale: -redis: no Redis answers at "+addr+": .*refused\n$", stderr.String())
	require.Empty(t, stdout.String())
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-help"}, &stdout, &stderr))
	for _, want := range []string{"-db", "-redis", "-strategy", "-buyers", "-stock", "-servers", "-json", "-story", "-rounds"} {
		require.Contains(t, stderr.String(), want)
	}
	for _, name := range strategyNames(stories) {
		require.Contains(t, stderr.String(), "  "+name+"  ")
	}
}

func TestStrategyList(t *testing.T) {
	all, err := choose(stories, "")
	require.NoError(t, err)
	require.Equal(t, stories, all)
	some, err := choose(stories, "transaction, unsafe")
	require.NoError(t, err)
	require.Len(t, some, 3)
	for i, want := range [][]string{{"unsafe"}, {"transaction", "unsafe"}, {"transaction", "unsafe"}} {
		require.Equal(t, want, strategyNames(some[i:i+1]))
	}
	one, err := choose(stories, "redlock")
	require.NoError(t, err)
	require.Len(t, one, 1)
	require.Equal(t, "stock", one[0].name)
	require.Len(t, stockStory.strategies, 8, "the stories themselves are left as they are")
}

func TestDatabaseOutOfReach(t *testing.T) {
	var stdout, stderr bytes.Buffer
	path := filepath.Join(t.TempDir(), "nowhere", "shop.db")
	require.Equal(t, 1, run(t.Context(), []string{"-db", "sqlite:" + path}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "connect to SQLite")
	require.Contains(t, stderr.String(), path, "where it is")
	require.Empty(t, stdout.String())
}

// storyOf is the story of the stock with one strategy.
func storyOf(st strategy) []*story {
	copied := *stockStory
	copied.strategies = []strategy{st}
	return []*story{&copied}
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

// A strategy is judged by all of its turns.
func TestTurns(t *testing.T) {
	right := result{Sold: 1, Stock: 1, Seconds: 1}
	wrong := result{Sold: 2, Stock: 1, Oversold: 1, LostUpdates: 1, Seconds: 2}
	seen := &race{first: step{buyer: 1}}
	var s sample
	s.add(sample{rounds: []result{right}, curve: [][]result{{right}, {right}}})
	s.add(sample{rounds: []result{right, right}, race: seen, curve: [][]result{{right}, {right, wrong}}})
	s.add(sample{rounds: []result{right}, race: &race{}, curve: [][]result{{right}, {right}}})
	require.Len(t, s.rounds, 4)
	o := s.outcome(true)
	require.Equal(t, outcome{result: right, safe: true, race: seen, curve: []result{right, wrong}}, o)
	require.Equal(t, &wrong, o.unsound())
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
			c := config{stories: storyOf(strategyOf(test.safe, test.f)), rounds: 1, buyers: 10, stock: test.stock, servers: 1}
			ok, err := holdSales(t.Context(), c, screen{&stdout, &stdout, io.Discard})
			require.NoError(t, err)
			require.Equal(t, test.ok, ok)
		})
	}
}

func TestErrorsAreShown(t *testing.T) {
	tempDir(t)
	var stdout bytes.Buffer
	broken := strategyOf(true, func(context.Context, int64) (int64, error) { return 0, errors.New("no paper") })
	_, err := holdSales(t.Context(), config{stories: storyOf(broken), rounds: 1, buyers: 3, stock: 1, servers: 1}, screen{&stdout, &stdout, io.Discard})
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(stdout.String()), " "),
		"3 requests failed, the first with: status 500: no paper.")
	require.Contains(t, stdout.String(), "✗ 3 errors\n")
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
		{"sold", t.Context(), stockStory.strategies[0], nil},
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
				config{database: &d, stories: storyOf(test.st), rounds: 1, buyers: 20, stock: 5, servers: 2}, screen{&stdout, &stdout, io.Discard})
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
	var shown bytes.Buffer
	var p progress
	p.round.Store(3)
	p.answers.Store(2)
	p.buyers.Store(9)
	m := meter{w: &shown, moves: true}
	m.begin(stockStory, 3)
	m.follow(1, "optimistic-coalesced", &p)()
	require.Contains(t, shown.String(), "turn 1 of 3, optimistic-coalesced, sale 3: 2 of 9 answered")
	require.True(t, strings.HasSuffix(shown.String(), "\r\x1b[K"), "the line is erased at the end")
	for line := range strings.SplitSeq(shown.String(), "\r\x1b[K") {
		require.Less(t, len(line), 80)
	}
}
