//go:build unix

package distlock_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

var (
	seed      = flag.Uint64("seed", rand.Uint64(), "chooses the faults of TestFencedHistories")
	histories = flag.Int("histories", inLong(60, 10_000), "how many histories TestFencedHistories checks")
)

// inLong returns one of two numbers, the second in the long form of scripts/test.sh.
func inLong(short, long int) int {
	if os.Getenv("NOGAP_LONG") != "" {
		return long
	}
	return short
}

const (
	historyWindow = 600 * time.Millisecond // each process begins with the next name when it is over
	historySlots  = 4                      // so many names are in use at once
)

// unguardedVariable is set for processes that write without a look at the fence.
const unguardedVariable = "NOGAP_TEST_UNGUARDED"

// namedEvent is one operation under a name. Each name has a history of its own.
type namedEvent struct {
	Name string
	event
}

// fencedWrites is the model of the writes under one name, whose state is the newest token: a token is greater than all before,
// and a write is applied exactly if its token is the newest. Who holds the lock does not matter: nodes that lose their keys
// give it to two at once.
var fencedWrites = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{int64(0)} },
	Step: func(before, input, _ any) []any {
		newest, e := before.(int64), input.(event)
		switch {
		case e.Op == "mint" && e.Token == 0: // it may or may not have used up a number
			return []any{newest, newest + 1}
		case e.Op == "mint" && e.Token > newest:
			return []any{e.Token}
		case e.Op == "write" && e.Fenced == (e.Token < newest) && e.Token <= newest:
			return []any{newest}
		}
		return nil
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}).ToModel()

// recordHistories is the main function of a process that takes locks whose names change with the time, so that all processes
// take the same ones, and writes under them. It prints what it did, and ends when it is killed.
func recordHistories(locks *distlock.Locker) error {
	db, err := sql.Open("pgx", os.Getenv(dsnVariable))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(historySlots)
	fence, err := distlock.NewFence(db, "lock_fences")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	record := func(name string, e event) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(namedEvent{name, e})
	}
	for slot := range historySlots {
		go func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%d/%d", slot, time.Now().UnixNano()/int64(historyWindow))
				ctx, cancel := context.WithTimeout(context.Background(), historyWindow)
				lease, err := locks.Lock(ctx, name)
				cancel()
				if err != nil {
					time.Sleep(rand.N(50 * time.Millisecond)) // or it would do nothing but connect again to nodes that are away
					continue
				}
				writeUnder(db, fence, lease, fmt.Sprintf("%d/%d/%d", os.Getpid(), slot, n), record)
				_ = lease.Unlock(context.Background())
			}
		}()
	}
	select {}
}

// writeUnder mints a token and writes with it some times, whatever becomes of the lease meanwhile.
func writeUnder(db *sql.DB, fence *distlock.Fence, lease *distlock.Lease, id string, record func(string, event)) {
	now := func() int64 { return time.Now().UnixNano() }
	e := event{Op: "mint", Lease: id, Call: now(), Return: math.MaxInt64}
	record(lease.Name(), e) // should the process die meanwhile, this is what is known
	token, err := fence.Mint(context.Background(), lease)
	if err != nil {
		return // it may still be on its way
	}
	e.Token, e.Return = token.Number, now()
	record(lease.Name(), e)
	for range 1 + rand.IntN(12) {
		e = event{Op: "write", Lease: id, Token: token.Number, Call: now()}
		write := func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO journal (name, token) VALUES ($1, $2)", token.Name, token.Number)
			return err
		}
		if os.Getenv(unguardedVariable) == "" {
			err = guarded(context.Background(), db, fence, token, write)
		} else {
			err = unguarded(db, write)
		}
		e.Fenced, e.Return = errors.Is(err, distlock.ErrFenced), now()
		if err == nil || e.Fenced {
			record(lease.Name(), e)
		}
		time.Sleep(rand.N(40 * time.Millisecond)) // the work between two writes
	}
}

// unguarded is guarded as people write it who have a lock and no fence.
func unguarded(db *sql.DB, write func(*sql.Tx) error) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := write(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// fencedRun is a run of several processes that write under the same locks, while faults strike.
type fencedRun struct {
	dsn       string
	unguarded bool
	rng       *rand.Rand
	nodes     []*servers.Server
	proxies   [3][]*faultproxy.Proxy // of each process, to each node
	running   [3]*process
	readers   sync.WaitGroup
	faults    int

	mu      sync.Mutex
	events  map[string][]event        // by name
	minted  map[string]map[int64]bool // the tokens of each name
	several int                       // how many names had several holders
}

func newFencedRun(t *testing.T, dsn string, unguarded bool) *fencedRun {
	t.Helper()
	r := &fencedRun{dsn: dsn, unguarded: unguarded, rng: rand.New(rand.NewPCG(*seed, 0)), nodes: servers.StartRedis(t, 3),
		events: map[string][]event{}, minted: map[string]map[int64]bool{}}
	for i := range r.running {
		for _, n := range r.nodes {
			r.proxies[i] = append(r.proxies[i], faultproxy.New(t, n.Addr, faultproxy.Redis))
		}
		r.spawn(t, i)
	}
	return r
}

// spawn starts a process, and collects what it records until it is gone.
func (r *fencedRun) spawn(t *testing.T, i int) {
	t.Helper()
	var through []string
	for _, p := range r.proxies[i] {
		through = append(through, p.Addr())
	}
	env := []string{dsnVariable + "=" + r.dsn}
	if r.unguarded {
		env = append(env, unguardedVariable+"=1")
	}
	p := start(t, "histories", through, "", env...)
	r.running[i] = p
	r.readers.Go(func() {
		r.collect(p.out)
		_ = p.Wait() // it was killed
	})
}

func (r *fencedRun) collect(lines *bufio.Scanner) {
	minting := map[string]int{} // where the mint of a lease is among the events of its name
	for lines.Scan() {
		var e namedEvent
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // cut off in the middle
		}
		r.mu.Lock()
		if i, begun := minting[e.Lease]; begun && e.Op == "mint" {
			r.events[e.Name][i] = e.event
			if r.minted[e.Name] == nil {
				r.minted[e.Name] = map[int64]bool{}
			}
			if r.minted[e.Name][e.Token] = true; len(r.minted[e.Name]) == 2 {
				r.several++
			}
		} else {
			if e.Op == "mint" {
				minting[e.Lease] = len(r.events[e.Name])
			}
			r.events[e.Name] = append(r.events[e.Name], e.event)
		}
		r.mu.Unlock()
	}
}

// histories returns how many names had several holders so far.
func (r *fencedRun) histories() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.several
}

// strike makes one fault after the other. Two of three empty nodes, which takes the lock from under its holders.
func (r *fencedRun) strike(t *testing.T) {
	t.Helper()
	some := func() []int { return r.rng.Perm(len(r.nodes))[:1+r.rng.IntN(len(r.nodes))] }
	wait := func() { time.Sleep(time.Duration(float64(childTTL) * 1.5 * r.rng.Float64())) }
	i := r.rng.IntN(len(r.running))
	switch r.faults++; r.faults % 15 {
	case 3: // a process is stopped
		require.NoError(t, r.running[i].Process.Signal(syscall.SIGSTOP))
		wait()
		require.NoError(t, r.running[i].Process.Signal(syscall.SIGCONT))
	case 6: // a process is killed
		require.NoError(t, r.running[i].Process.Kill())
		r.spawn(t, i)
	case 9: // a process is cut off from nodes
		cut := some()
		for _, n := range cut {
			r.proxies[i][n].Hang()
		}
		wait()
		for _, n := range cut {
			r.proxies[i][n].Pass()
		}
	case 12: // nodes are stopped
		stopped := some()
		for _, n := range stopped {
			r.nodes[n].Pause(t)
		}
		wait()
		for _, n := range stopped {
			r.nodes[n].Resume(t)
		}
	case 0: // a node crashes, and comes back empty at once
		r.nodes[r.rng.IntN(len(r.nodes))].Restart(t)
	default: // most nodes are emptied, or all
		for _, n := range r.rng.Perm(len(r.nodes))[:2+r.rng.IntN(2)] {
			client := redis.NewClient(&redis.Options{Addr: r.nodes[n].Addr})
			require.NoError(t, client.FlushAll(t.Context()).Err())
			require.NoError(t, client.Close())
		}
	}
}

// end kills the processes and returns what they have recorded.
func (r *fencedRun) end(t *testing.T) map[string][]event {
	t.Helper()
	for _, p := range r.running {
		require.NoError(t, p.Process.Kill())
	}
	r.readers.Wait()
	return r.events
}

// fencedTally is what a run has seen.
type fencedTally struct {
	histories, writes, refused int
	illegal                    int // histories with a write by a stale holder that was applied, or one by the newest that was not
	backward                   int // writes that are in the table behind one with a newer token
}

// tally checks the history of each name against the model, and what is in the table.
func (r *fencedRun) tally(t *testing.T, db *sql.DB) (sum fencedTally) {
	t.Helper()
	sum.histories = r.histories()
	for name, events := range r.events {
		ops := make([]porcupine.Operation, len(events))
		for i, e := range events {
			ops[i] = porcupine.Operation{ClientId: i, Input: e, Call: e.Call, Return: e.Return}
			sum.writes += count(e.Op == "write" && !e.Fenced)
			sum.refused += count(e.Fenced)
		}
		result, info := porcupine.CheckOperationsVerbose(fencedWrites, ops, time.Minute)
		require.NotEqual(t, porcupine.Unknown, result, "the checker ran out of time")
		if result != porcupine.Illegal {
			continue
		}
		sum.illegal++
		if picture := filepath.Join(os.TempDir(), "distlock-fenced.html"); !r.unguarded && sum.illegal == 1 {
			require.NoError(t, porcupine.VisualizePath(fencedWrites, info, picture))
			t.Log("history of", name, "in", picture)
		}
	}
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM (SELECT token, max(token)
		OVER (PARTITION BY name ORDER BY id) AS newest FROM journal) AS entries WHERE token < newest`).Scan(&sum.backward))
	return sum
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Three processes write under the same locks, over and over, each write with the token of its lease. By turns processes are
// stopped, killed and cut off, and nodes are stopped, crash and lose all keys, so that a lock has several holders at once. No
// write by a stale one may be applied. Without a look at the fence such writes are there, and are seen.
//
// Nothing else of the package runs beside it: a machine too busy to answer within NodeTimeout does little but connect again.
func TestFencedHistories(t *testing.T) {
	t.Run("unguarded", func(t *testing.T) {
		sum, line := writeWithFaults(t, true, min(*histories, 60))
		t.Log(line)
		require.Positive(t, sum.illegal, "writes by stale holders went unseen")
		require.Positive(t, sum.backward)
	})
	t.Run("guarded", func(t *testing.T) {
		sum, line := writeWithFaults(t, false, *histories)
		t.Log(line)
		require.NoError(t, servers.Proven(line))
		require.Positive(t, sum.refused, "no holder was stale")
		require.Zero(t, sum.illegal, "seed %d", *seed)
		require.Zero(t, sum.backward)
	})
}

// writeWithFaults makes a run until so many names have had several holders, and says what it has seen.
func writeWithFaults(t *testing.T, unguarded bool, enough int) (sum fencedTally, line string) {
	t.Helper()
	pg := matrix.Postgres()[0]
	dsn := pg.DSN(t)
	db := pg.Connect(t, dsn)
	newFence(t, db, nogap.Postgres)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE journal (id BIGSERIAL PRIMARY KEY, name TEXT NOT NULL, token BIGINT NOT NULL)")
	require.NoError(t, err)
	r := newFencedRun(t, dsn, unguarded)
	for r.histories() < enough || r.faults < 30 {
		r.strike(t)
		if testing.Verbose() && r.faults%50 == 0 {
			t.Logf("%d histories, %d faults", r.histories(), r.faults)
		}
		time.Sleep(time.Duration(r.rng.Int64N(int64(childTTL / 4)))) // the moment of the next
	}
	r.end(t)
	sum = r.tally(t, db)
	fence := "fenced"
	if unguarded {
		fence = "without a fence"
	}
	return sum, fmt.Sprintf("distlock, %s, seed %d: %d histories with several holders, %d faults: %d writes applied, %d by stale "+
		"holders refused; %d histories not linearizable, %d writes behind one with a newer token", fence, *seed, sum.histories, r.faults,
		sum.writes, sum.refused, sum.illegal, sum.backward)
}
