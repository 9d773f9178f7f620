//go:build unix

package outcome_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/matrix"
)

// patience bounds a call that no fault ends.
const patience = time.Minute

// workers is how many calls a storm makes at once.
const workers = 4

// storm makes calls on a database under faults.
type storm struct {
	matrix.Target
	fault  string
	dsn    string
	direct *sql.DB // one connection that no fault strikes
	make   func(nogap.Dialect, *sql.DB) ([]call, error)
	calls  []call // over direct
	ids    int
	next   atomic.Int64
	rngs   []*rand.Rand // of the workers
	apart  bool         // what is counted is not nogap's

	mu      sync.Mutex
	results []result
	faults  map[string]int // that struck, by their names
}

// result is what one call returned.
type result struct {
	call       call
	id, caller int
	fault      string
	err        error
	late       time.Duration // how long after the end of its context; 0 is before
}

// newStorm makes a storm of n calls of all kinds on a fresh database.
func newStorm(t *testing.T, target matrix.Target, fault string, n int) *storm {
	t.Helper()
	return newStormAt(t, target, target.DSN(t), fault, n, newCalls)
}

func newStormAt(t *testing.T, target matrix.Target, dsn, fault string, n int, calls func(nogap.Dialect, *sql.DB) ([]call, error)) *storm {
	t.Helper()
	s := &storm{Target: target, fault: fault, dsn: dsn, direct: target.Connect(t, dsn), make: calls, faults: map[string]int{}}
	s.direct.SetMaxOpenConns(1)
	for i := range workers {
		s.rngs = append(s.rngs, s.rng(i))
	}
	var err error
	s.calls, err = calls(target.Dialect, s.direct)
	require.NoError(t, err)
	warm := workers * len(s.calls)
	s.ids = n + warm
	createTables(t, target, s.direct, s.ids, s.calls)
	return s
}

// rng returns a source of numbers that the seed of the run and the names determine.
func (s *storm) rng(worker int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, s.Name, s.fault, worker)
	return rand.New(rand.NewPCG(*seed, h.Sum64()))
}

// client is a pool from which calls are made.
type client struct {
	db    *sql.DB
	calls []call
}

// connect opens a pool over which one call of each kind has been made, so that the storm is not about the questions that a
// first call asks.
func (s *storm) connect(t *testing.T, dsn string) *client {
	t.Helper()
	db, err := sql.Open(s.Driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() }) // a driver may complain of what was broken
	db.SetMaxOpenConns(2 * workers)
	db.SetMaxIdleConns(2 * workers)
	c := &client{db: db}
	c.calls, err = s.make(s.Dialect, db)
	require.NoError(t, err)
	for range c.calls {
		err, ok := s.call(concurrent.Within(t, patience), c, "none")
		require.True(t, ok)
		require.NoError(t, err)
	}
	return c
}

// left reports whether there are calls left.
func (s *storm) left() bool { return int(s.next.Load()) < s.ids }

// call makes the next call, with items of its own, and notes what it returned. It reports whether there was one left.
func (s *storm) call(ctx context.Context, c *client, fault string) (err error, ok bool) {
	id := int(s.next.Add(1)) - 1
	if id >= s.ids {
		return nil, false
	}
	call := c.calls[id%len(c.calls)]
	results := make([]result, max(1, call.callers))
	var callers sync.WaitGroup
	for i := range results {
		callers.Go(func() { results[i] = makeCall(ctx, call, id, i) })
	}
	callers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range results {
		r.fault = fault
		s.results = append(s.results, r)
		err = errors.Join(err, r.err)
	}
	return err, true
}

func makeCall(ctx context.Context, c call, id, caller int) result {
	var ended atomic.Int64
	stop := context.AfterFunc(ctx, func() { ended.Store(time.Now().UnixNano()) })
	r := result{call: c, id: id, caller: caller, err: c.do(ctx, id, caller)}
	if stop(); ended.Load() != 0 {
		r.late = time.Since(time.Unix(0, ended.Load()))
	}
	return r
}

// struck notes that faults have struck.
func (s *storm) struck(fault string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[fault] += n
}

// run makes calls from all workers, one after the other in each, until there are no more. with makes the fault.
func (s *storm) run(t *testing.T, c *client, with func(context.Context, *rand.Rand, func(context.Context))) {
	t.Helper()
	ctx := concurrent.Within(t, s.enough())
	concurrent.Run(t, workers, func(i int) error {
		for ok := true; ok; {
			with(ctx, s.rngs[i], func(ctx context.Context) { _, ok = s.call(ctx, c, s.fault) })
		}
		return nil
	})
}

// enough bounds a storm.
func (s *storm) enough() time.Duration { return patience + time.Duration(s.ids)*50*time.Millisecond }

// audit looks at what came of every call, once the server can't change it any more, and fails the test if that is not what the
// caller was told.
func (s *storm) audit(t *testing.T, clients ...*client) {
	t.Helper()
	require.Zero(t, s.count(t, clients...).wrong(), "seed %d", *seed)
}

// count looks at what came of every call, and says what is wrong.
func (s *storm) count(t *testing.T, clients ...*client) *tally {
	t.Helper()
	for _, c := range clients {
		leak.Connections(t, c.db)
		c.db.SetMaxIdleConns(-1) // closes those there are
	}
	s.settle(t)
	var all tally
	there := look(t, s.Target, s.direct)
	for _, r := range s.results {
		applied, whole := there.applied(r.call, r.id, r.caller)
		sum := tally{calls: 1, doubled: count(applied > 1), half: count(!whole)}
		if r.late > 0 {
			sum.late = append(sum.late, r.late)
		}
		switch {
		case r.err == nil:
			sum.ok, sum.lost = 1, count(applied == 0)
		case errors.Is(r.err, nogap.ErrOutcomeUnknown):
			sum.unknown, sum.notApplied = 1, count(applied == 0)
		default:
			sum.refused, sum.despite = 1, count(applied > 0)
		}
		if sum.wrong() > 0 {
			t.Logf("%s: %s of %d was applied %d times (whole: %t) and returned: %v", r.fault, r.call.name, r.id, applied, whole, r.err)
		}
		s.report(r.fault, r.call.name, sum)
		all.add(sum)
	}
	for fault, n := range s.faults {
		s.report(fault, "", tally{faults: n})
		all.faults += n
	}
	require.NotEmpty(t, s.results)
	t.Logf("%s on %s, seed %d: %v", s.fault, s.Name, *seed, &all)
	s.callAgain(t)
	return &all
}

func (s *storm) report(fault, call string, t tally) {
	if !s.apart {
		report.add(fault, s.Name, call, t)
	}
}

// callAgain makes all calls with a key again that did not return nil, and some others: afterwards each has one effect.
func (s *storm) callAgain(t *testing.T) {
	t.Helper()
	again := 0
	for _, r := range s.results {
		if r.call.name == withKey && (r.err != nil || r.id%3 == 0) {
			require.NoError(t, s.calls[len(s.calls)-1].do(concurrent.Within(t, patience), r.id, 0))
			again++
		}
	}
	if again == 0 {
		return
	}
	there := look(t, s.Target, s.direct)
	for _, r := range s.results {
		if r.call.name == withKey {
			applied, whole := there.applied(r.call, r.id, 0)
			require.True(t, applied == 1 && whole, "%d: applied %d times", r.id, applied)
		}
	}
}

// settle waits until the server has no other session in the database: one may still carry out what nobody waits for any more.
func (s *storm) settle(t *testing.T) {
	t.Helper()
	if s.Dialect != nogap.SQLite {
		s.settleOn(t, s.direct)
	}
}

func (s *storm) settleOn(t *testing.T, direct *sql.DB) {
	t.Helper()
	others := "FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
	if s.Dialect == nogap.Postgres {
		others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	}
	await := func(condition string) {
		t.Helper()
		require.Eventually(t, func() bool {
			var n int
			require.NoError(t, direct.QueryRowContext(t.Context(), "SELECT count(*) "+others+condition).Scan(&n))
			return n == 0
		}, patience, time.Millisecond)
	}
	if s.Dialect == nogap.Postgres { // PgBouncer keeps its sessions
		await(" AND state <> 'idle'")
		execute(t, direct, "SELECT pg_terminate_backend(pid) "+others)
	}
	await("")
}

// sessions returns a statement that ends the session of a number, and the numbers of all other sessions of the database.
func (s *storm) sessions(ctx context.Context) (ids []int64, kill string, err error) {
	query, kill := "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()", "KILL %d"
	if s.Dialect == nogap.Postgres {
		query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		kill = "SELECT pg_terminate_backend(%d)"
	}
	rows, err := s.direct.QueryContext(ctx, query)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, "", err
		}
		ids = append(ids, id)
	}
	return ids, kill, rows.Err()
}

// terminate ends one of the other sessions, if there is one. It may be gone meanwhile.
func (s *storm) terminate(ctx context.Context, choose func(n int) int) (struck bool, err error) {
	ids, kill, err := s.sessions(ctx)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	_, err = s.direct.ExecContext(ctx, fmt.Sprintf(kill, ids[choose(len(ids))]))
	if s.Dialect != nogap.Postgres {
		return err == nil, nil // no such thread
	}
	return err == nil, err
}
