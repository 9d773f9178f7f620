package racetest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/report"
)

// T is what racetest needs of a test: *testing.T, *testing.B and *rapid.T have it.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Scenario is what to explore.
type Scenario struct {
	// Open is the database: racetest.Open("pgx", dsn), or any driver.Connector. Each client gets a *sql.DB of its own on it.
	Open driver.Connector
	// Setup brings the database into the same state before each schedule. It runs hundreds of times, so DELETE and INSERT are
	// better than DROP and CREATE. It may be nil if the clients leave the database as it was.
	Setup func(ctx context.Context, db *sql.DB) error
	// Clients are the clients that race, two to five.
	Clients []Client
	// Check is an invariant of your own. It is called after each schedule, which fails if it returns an error. It may be nil.
	Check func(ctx context.Context, db *sql.DB, r Results) error

	// MaxPreemptions bounds how often a schedule interrupts a client that could go on. 0 is no bound.
	MaxPreemptions int
	// MaxSchedules bounds how many schedules are played. 0 is 2000.
	MaxSchedules int
	// Budget bounds the time of the search. 0 is 20 seconds.
	Budget time.Duration
	// Seed is the seed of the random schedules, which are played when there are too many classes of schedules.
	Seed uint64
	// Replay is a schedule to play, and no other. The environment variable RACETEST_REPLAY does the same for a run of go test: for
	// the first call of Explore or MustFail in each test, or with "#2" before the schedule for the second one. The other calls are
	// explored.
	Replay Schedule
	// Ignore names columns that are not compared, as "table.column". One that is not there is an error.
	Ignore []string
	// CompareResults makes what the clients have read a part of the end, too, beside the tables and the clients' errors.
	CompareResults bool
	// Resources are stores beside the database whose commands are steps too: raceredis.Clients.
	Resources []Resource
}

// Resource is a store beside the database. Package raceredis has one.
type Resource = explore.Resource

// Client is one of the clients that race.
type Client struct {
	// Name is for the report: a short one, which no other client has.
	Name string
	// Run does what one request does. It runs once in each schedule, and must do the same on the same data.
	Run func(ctx context.Context, db *sql.DB) error
}

// Results are what the clients returned, by their names.
type Results map[string]error

// Open names the database of a scenario by a driver that is registered with database/sql. It reports no errors:
// Explore does.
func Open(driverName, dsn string) driver.Connector {
	c, err := gate.Open(driverName, dsn)
	if err != nil {
		return failed{err}
	}
	return c
}

// failed is a connector that could not be made.
type failed struct{ err error }

func (f failed) Connect(context.Context) (driver.Conn, error) { return nil, f.err }
func (f failed) Driver() driver.Driver                        { return nil }

// Explore plays the schedules of a scenario. It fails the test with the first schedule that fails: no order of whole
// clients ends as it does, its Check returns an error, or a client ended in a deadlock. If there is none, it logs
// what it has explored. It also fails the test if the scenario is not complete, or if the database can't be used for
// it.
func Explore(t T, s Scenario) {
	t.Helper()
	result, r := run(t, s)
	switch {
	case result.Failure != nil:
		t.Fatalf("%s", r.Failure())
	case result.Inconclusive() != "":
		t.Fatalf("%s", r.Inconclusive())
	default:
		t.Logf("%s", r.Passed())
	}
}

// MustFail explores a scenario that has a bug, and returns the schedule that shows it. The test fails if none is
// found.
func MustFail(t T, s Scenario) *Failure {
	t.Helper()
	result, r := run(t, s)
	switch {
	case result.Failure == nil && result.Inconclusive() != "":
		t.Fatalf("racetest: no schedule fails, and one must\n%s", r.Inconclusive())
		return nil
	case result.Failure == nil:
		t.Fatalf("racetest: no schedule fails, and one must\n%s", r.Passed())
		return nil
	}
	t.Logf("%s", r.Failure())
	return newFailure(r)
}

func run(t T, s Scenario) (*explore.Result, *report.Report) {
	t.Helper()
	call := callOf(t)
	env, err := fromEnvironment()
	if err == nil && env.schedule != "" && env.call == call {
		s.Replay = env.schedule
	} else if env.schedule != "" {
		t.Logf("racetest: RACETEST_REPLAY is for call %d of this test; this one, call %d, is explored", env.call, call)
	}
	var cfg explore.Config
	if err == nil {
		cfg, err = s.config()
	}
	if err != nil {
		t.Fatalf("racetest: %v", err)
	}
	result, err := explore.Run(contextOf(t), cfg)
	if err != nil {
		t.Fatalf("racetest: %v", err)
	}
	return result, report.New(t.Name(), call, s.names(), result)
}

// contextOf returns the context of a test that has one.
func contextOf(t T) context.Context {
	if c, ok := t.(interface{ Context() context.Context }); ok {
		return c.Context()
	}
	return context.Background()
}

func (s Scenario) names() (names []string) {
	for _, c := range s.Clients {
		names = append(names, c.Name)
	}
	return names
}

func (s Scenario) config() (explore.Config, error) {
	if err := s.check(); err != nil {
		return explore.Config{}, err
	}
	cfg := explore.Config{
		Connector: s.Open, Setup: s.Setup, MaxPreemptions: s.MaxPreemptions, MaxSchedules: s.MaxSchedules, Budget: s.Budget,
		Seed: s.Seed, Ignore: s.Ignore, CompareResults: s.CompareResults, Resources: s.Resources,
	}
	if cfg.MaxSchedules == 0 {
		cfg.MaxSchedules = 2000
	}
	if cfg.Budget == 0 {
		cfg.Budget = 20 * time.Second
	}
	for _, c := range s.Clients {
		cfg.Clients = append(cfg.Clients, explore.Client{Name: c.Name, Run: c.Run})
	}
	if s.Check != nil {
		cfg.Check = func(ctx context.Context, db *sql.DB, results map[string]error) error {
			return s.Check(ctx, db, results)
		}
	}
	var err error
	cfg.Replay, err = s.Replay.segments(s.names())
	return cfg, err
}

// check returns an error that names what a scenario lacks.
func (s Scenario) check() error {
	if s.Open == nil {
		return fmt.Errorf("Scenario.Open is nil: use racetest.Open(driver, dsn)")
	}
	if len(s.Clients) < 2 {
		return fmt.Errorf("Scenario.Clients has %d clients: a race takes two", len(s.Clients))
	}
	if len(s.Clients) > 5 {
		return fmt.Errorf("Scenario.Clients has %d clients: there are too many orders of more than 5", len(s.Clients))
	}
	seen := map[string]bool{}
	for i, c := range s.Clients {
		if c.Name == "" || seen[c.Name] {
			return fmt.Errorf("Scenario.Clients[%d] needs a Name that no other client has, not %q", i, c.Name)
		}
		if c.Run == nil {
			return fmt.Errorf("client %s has no Run", c.Name)
		}
		seen[c.Name] = true
	}
	for _, column := range s.Ignore {
		if !strings.Contains(column, ".") {
			return fmt.Errorf("Scenario.Ignore: %q must be table.column", column)
		}
	}
	if s.MaxPreemptions < 0 || s.MaxSchedules < 0 || s.Budget < 0 {
		return fmt.Errorf("MaxPreemptions, MaxSchedules and Budget must not be negative")
	}
	return nil
}
