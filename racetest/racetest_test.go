package racetest_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/racetest/fakeitems"
	"github.com/nogap-go/nogap/racetest"
)

var (
	_ racetest.T = (*testing.T)(nil)
	_ racetest.T = (*testing.B)(nil)
)

// recorder is a test that is watched.
type recorder struct {
	name        string
	log, failed string
	cleanup     []func()
}

func (r *recorder) Helper()                         {}
func (r *recorder) Name() string                    { return r.name }
func (r *recorder) Cleanup(fn func())               { r.cleanup = append(r.cleanup, fn) }
func (r *recorder) Logf(format string, args ...any) { r.log += fmt.Sprintf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// watch runs fn as a test, and returns what it logged and how it failed.
func watch(fn func(t racetest.T)) (log, failed string) {
	r := &recorder{name: "TestShop/buy (two)"}
	var wg sync.WaitGroup
	wg.Go(func() { fn(r) })
	wg.Wait()
	for _, fn := range r.cleanup {
		fn()
	}
	return r.log, r.failed
}

func refill(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, fakeitems.Refill)
	return err
}

func take(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, fakeitems.Take)
	return err
}

// scenario has two clients, and a database of its own.
func scenario(run func(context.Context, *sql.DB) error) racetest.Scenario {
	return racetest.Scenario{
		Open: fakeitems.New(), Setup: refill, Clients: []racetest.Client{{Name: "alice", Run: run}, {Name: "bob", Run: run}},
	}
}

func TestReport(t *testing.T) {
	_, failed := watch(func(t racetest.T) { racetest.Explore(t, scenario(buy)) })
	require.Contains(t, failed, `
     alice                                          bob
  1  SELECT stock FROM items WHERE id = 1
     → stock 10
  2                                                 SELECT stock FROM items WHERE id = 1
                                                    → stock 10
  3                                                 UPDATE items SET stock = $1 WHERE id = 1 [9]
                                                    → 1 row
  4  UPDATE items SET stock = $1 WHERE id = 1 [9]
     → 1 row — overwrites step 3, decided by what
     step 1 read

the end   items, id 1: stock is 9; every order of whole clients ends with 8
close it  atomic: one guarded statement has no gap (Counter for a number, State for a status,
          SingleUse for a code);
`)
	require.Contains(t, failed, "; replayed 3 of 3\n")
	require.Contains(t, failed, `replay    RACETEST_REPLAY='alice:1 bob:2 alice:1' go test -run '^TestShop$/^buy \(two\)$' .`)
	for _, line := range strings.Split(failed, "\n") {
		if !strings.HasPrefix(line, "replay") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
		}
	}
}

func TestFailureForPrograms(t *testing.T) {
	f := racetest.MustFail(t, scenario(buy))
	require.Equal(t, 1, f.Number)
	require.Equal(t, f.Replays, f.Replayed)
	require.NoError(t, f.Check)
	var doc struct {
		Kind, Schedule string
		Steps          []struct{ Client, SQL, Result string }
	}
	text, err := json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &doc))
	require.Equal(t, "lost update", doc.Kind)
	require.Equal(t, string(f.Schedule), doc.Schedule)
	require.Len(t, doc.Steps, 4)
	require.Equal(t, "→ stock 10", doc.Steps[0].Result)

	diagram := f.Mermaid()
	require.True(t, strings.HasPrefix(diagram, "sequenceDiagram\n"), diagram)
	require.Contains(t, diagram, "    c0->>db: SELECT stock FROM items WHERE id = 1\n    db-->>c0: stock 10\n")
	require.Contains(t, diagram, "every order of whole clients ends with 8\n")
}

func TestPass(t *testing.T) {
	log, failed := watch(func(t racetest.T) { racetest.Explore(t, scenario(take)) })
	require.Empty(t, failed)
	require.Contains(t, log, "no failure in 2 schedules of 2 clients: 2 of 2 classes, any number of preemptions")
	_, failed = watch(func(t racetest.T) { racetest.MustFail(t, scenario(take)) })
	require.Contains(t, failed, "no schedule fails, and one must")
}

func TestReplay(t *testing.T) {
	s := scenario(buy)
	s.Replay = "alice:1 bob:2"
	_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Contains(t, failed, "lost update")
	s.Replay = "alice:2 bob:2"
	log, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Empty(t, failed)
	require.Contains(t, log, "the schedule that was asked for does not fail")
	require.Contains(t, log, "SELECT stock FROM items")
	t.Setenv("RACETEST_REPLAY", "alice:1 bob:2 alice:1")
	_, failed = watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Contains(t, failed, "lost update", "the variable counts more than the field")
}

// An invariant of one's own is asked after each schedule.
func TestCheck(t *testing.T) {
	s := scenario(take)
	errWrong := errors.New("bob was not served")
	s.Check = func(ctx context.Context, db *sql.DB, r racetest.Results) error {
		require.Len(t, r, 2)
		var stock int
		if err := db.QueryRowContext(ctx, fakeitems.Read).Scan(&stock); err != nil || stock != 8 {
			return errors.Join(err, fmt.Errorf("%d in stock", stock))
		}
		return nil
	}
	racetest.Explore(t, s)
	s = scenario(buy)
	s.Check = func(ctx context.Context, db *sql.DB, _ racetest.Results) error {
		var stock int
		if err := db.QueryRowContext(ctx, fakeitems.Read).Scan(&stock); err != nil || stock == 9 {
			return errors.Join(err, errWrong)
		}
		return nil
	}
	require.ErrorIs(t, racetest.MustFail(t, s).Check, errWrong)
	s.Check = func(context.Context, *sql.DB, racetest.Results) error { return errWrong }
	_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Contains(t, failed, "Check of the scenario fails for clients that ran one after the other")
}

// Clients that wait for each other inside the process make way.
func TestMutex(t *testing.T) {
	var mu sync.Mutex
	racetest.Explore(t, scenario(func(ctx context.Context, db *sql.DB) error {
		mu.Lock()
		defer mu.Unlock()
		return buy(ctx, db)
	}))
}

// A client that sleeps is waited for.
func TestSleep(t *testing.T) {
	racetest.MustFail(t, scenario(func(ctx context.Context, db *sql.DB) error {
		time.Sleep(30 * time.Millisecond)
		return buy(ctx, db)
	}))
}

// What is no statement can be a step, too.
func TestStep(t *testing.T) {
	s := scenario(nil)
	var shared int
	s.Setup = func(ctx context.Context, db *sql.DB) error { shared = 0; return refill(ctx, db) }
	run := func(ctx context.Context, db *sql.DB) error {
		racetest.Step(ctx, "read it")
		n := shared
		racetest.Step(ctx, "write it")
		shared = n + 1
		return nil
	}
	s.Clients[0].Run, s.Clients[1].Run = run, run
	s.Check = func(context.Context, *sql.DB, racetest.Results) error {
		if shared != 2 {
			return fmt.Errorf("%d", shared)
		}
		return nil
	}
	f := racetest.MustFail(t, s)
	require.Contains(t, f.String(), "write it")
	racetest.Step(t.Context(), "outside a scenario")
}

func TestRefusedScenarios(t *testing.T) {
	for want, change := range map[string]func(*racetest.Scenario){
		"Scenario.Open is nil":                  func(s *racetest.Scenario) { s.Open = nil },
		"a race takes two":                      func(s *racetest.Scenario) { s.Clients = s.Clients[:1] },
		"too many orders":                       func(s *racetest.Scenario) { s.Clients = append(s.Clients, make([]racetest.Client, 4)...) },
		"needs a Name that no other client has": func(s *racetest.Scenario) { s.Clients[1].Name = "alice" },
		"client bob has no Run":                 func(s *racetest.Scenario) { s.Clients[1].Run = nil },
		"must not be negative":                  func(s *racetest.Scenario) { s.Budget = -1 },
		`names a client "carol"`:                func(s *racetest.Scenario) { s.Replay = "carol:1" },
		`"alice:x" must be a client`:            func(s *racetest.Scenario) { s.Replay = "alice:x" },
		"sql: unknown driver":                   func(s *racetest.Scenario) { s.Open = racetest.Open("none", "") },
		"Setup of the scenario: no table": func(s *racetest.Scenario) {
			s.Setup = func(context.Context, *sql.DB) error { return errors.New("no table") }
		},
		"client alice panicked: oh": func(s *racetest.Scenario) {
			s.Clients[0].Run = func(context.Context, *sql.DB) error { panic("oh") }
		},
		"ended its goroutine": func(s *racetest.Scenario) {
			s.Clients[0].Run = func(context.Context, *sql.DB) error { runtime.Goexit(); return nil }
		},
	} {
		s := scenario(buy)
		change(&s)
		_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
		require.Contains(t, failed, want)
	}
}

// What was not explored is not passed over in silence.
// A pass of these would say nothing.
func TestSaysNothing(t *testing.T) {
	broken := errors.New("no such table")
	slow := scenario(take)
	slow.Budget = time.Nanosecond
	fails := func(ctx context.Context, db *sql.DB) error { return errors.Join(take(ctx, db), broken) }
	bare := scenario(fails)
	bare.Setup = nil
	for want, s := range map[string]racetest.Scenario{
		"no client has made a step: Run must use the *sql.DB":                                  scenario(func(context.Context, *sql.DB) error { return nil }),
		"each client fails alone, right after Setup: alice: no such table; bob: no such table": scenario(fails),
		"each client fails alone: alice: ":                                                     bare,
		"the Budget was used up before the first schedule":                                     slow,
	} {
		_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
		require.Contains(t, failed, want)
	}
}

func TestBounds(t *testing.T) {
	s := scenario(func(ctx context.Context, db *sql.DB) error {
		return errors.Join(take(ctx, db), take(ctx, db), take(ctx, db))
	})
	s.MaxSchedules = 4
	log, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Empty(t, failed)
	require.Contains(t, log, "of at least")
	require.Contains(t, log, "not everything was explored")
	s.MaxSchedules, s.MaxPreemptions = 0, 1
	log, _ = watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Contains(t, log, "at most 1 preemptions")
	require.NotContains(t, log, "not everything")
}

// look reads the stock twice, and calls wrong if another client has changed it in between.
func look(wrong func(db *sql.DB)) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		var first, second int
		err := errors.Join(db.QueryRowContext(ctx, fakeitems.Read).Scan(&first), db.QueryRowContext(ctx, fakeitems.Read).Scan(&second))
		if err == nil && first != second {
			wrong(db)
		}
		return errors.Join(err, take(ctx, db))
	}
}

// What goes wrong in a race alone is a failure with its schedule, also if it is no end of the data.
func TestPanicInARace(t *testing.T) {
	s := scenario(look(func(*sql.DB) { panic("the stock has changed") }))
	f := racetest.MustFail(t, s)
	require.Equal(t, "panic", f.Kind)
	require.Equal(t, f.Replays, f.Replayed)
	require.Equal(t, racetest.Schedule("alice:1 bob:3 alice:1"), f.Schedule)
	text := f.String()
	require.Contains(t, text, "racetest: panic: alice panicked: the stock has changed\n")
	require.Contains(t, text, "\n     panics: the stock has changed\n")
	require.Contains(t, text, "\nstack     ")
	require.Contains(t, text, "racetest_test.TestPanicInARace")
	require.NotContains(t, text, "play/client.go", "the stack ends where the client begins")
	require.Contains(t, text, "replay    RACETEST_REPLAY='alice:1 bob:3 alice:1'")
	require.Contains(t, f.Mermaid(), "panics: the stock has changed\n")

	s.Replay = f.Schedule
	_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Contains(t, failed, "panic: alice panicked")

	f = racetest.MustFail(t, scenario(look(func(*sql.DB) { runtime.Goexit() })))
	require.Equal(t, "panic", f.Kind)
	require.Contains(t, f.String(), "alice ended its goroutine")
	require.NotContains(t, f.String(), "\nstack ")
}

// A transaction that stays open is not played again: it may hold locks.
func TestLeakInARace(t *testing.T) {
	f := racetest.MustFail(t, scenario(look(func(db *sql.DB) { _, _ = db.BeginTx(context.Background(), nil) })))
	require.Equal(t, "leak", f.Kind)
	require.Zero(t, f.Replays)
	require.Contains(t, f.String(), "alice has returned and left a connection in use")
	require.Contains(t, f.String(), "not played again")
	require.Contains(t, f.String(), "replay    RACETEST_REPLAY='alice:1 bob:3 alice:")
}

// The line that replays a failure names the call of Explore or MustFail, if it is not the test's first.
func TestReplayOfTheSecondCall(t *testing.T) {
	look := scenario(look(func(*sql.DB) { panic("the stock has changed") }))
	both := func(t racetest.T) {
		racetest.MustFail(t, scenario(buy))
		racetest.Explore(t, look)
	}
	_, failed := watch(both)
	require.Contains(t, failed, "replay    RACETEST_REPLAY='#2 alice:1 bob:3 alice:1' go test")

	t.Setenv("RACETEST_REPLAY", "#2 alice:1 bob:3 alice:1")
	_, failed = watch(both)
	require.Contains(t, failed, "panic: alice panicked")
	require.Contains(t, failed, "in the schedule that was asked for")

	t.Setenv("RACETEST_REPLAY", "alice:1 bob:2 alice:1") // the first
	log, failed := watch(both)
	require.Contains(t, log, "in the schedule that was asked for")
	require.Contains(t, failed, "by schedule", "the second is explored")

	for _, wrong := range []string{"#x alice:1", "#0 alice:1", "#2"} {
		t.Setenv("RACETEST_REPLAY", wrong)
		_, failed = watch(both)
		require.Contains(t, failed, "RACETEST_REPLAY: ", wrong)
	}
	t.Setenv("RACETEST_REPLAY", "#3 alice:1")
	log, _ = watch(both)
	require.Contains(t, log, "RACETEST_REPLAY is for call 3 of this test")
}

// A name in Ignore that nothing has is a typing error, which would compare what should be ignored.
func TestIgnore(t *testing.T) {
	for ignored, want := range map[string]string{
		"items.stok": `Scenario.Ignore: the table items has no column "stok", only id, stock`,
		"itms.stock": `Scenario.Ignore: there is no table "itms": the tables are items`,
		"stock":      `Scenario.Ignore: "stock" must be table.column`,
	} {
		s := scenario(buy)
		s.Ignore = []string{ignored}
		_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
		require.Contains(t, failed, want)
	}
	s := scenario(buy)
	s.Ignore = []string{"Items.Stock"}
	racetest.Explore(t, s)
}

// Errors name the package once.
func TestPrefix(t *testing.T) {
	s := scenario(buy)
	s.Open = fakedb.New(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row("Oracle 9"), nil })
	_, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.True(t, strings.HasPrefix(failed, "racetest: "), failed)
	require.Equal(t, 1, strings.Count(failed, "racetest: "), failed)
}

// A Setup that makes other values each time hides what goes wrong with them, and the pass says so.
func TestVolatileSetup(t *testing.T) {
	s := scenario(take)
	n := 9
	s.Setup = func(ctx context.Context, db *sql.DB) error {
		n++
		_, err := db.ExecContext(ctx, fakeitems.Set, n)
		return err
	}
	log, failed := watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.Empty(t, failed)
	require.Contains(t, strings.Join(strings.Fields(log), " "), "Setup makes other values each time: items.stock (10, then 13).")
	log, _ = watch(func(t racetest.T) { racetest.Explore(t, scenario(take)) })
	require.NotContains(t, log, "Setup makes other values")
	s.Ignore = []string{"items.stock"}
	log, _ = watch(func(t racetest.T) { racetest.Explore(t, s) })
	require.NotContains(t, log, "Setup makes other values")
}
