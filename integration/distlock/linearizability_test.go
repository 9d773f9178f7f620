//go:build unix

package distlock_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// event is one operation on the lock, as its process saw it. Times are those of the machine's clock.
type event struct {
	Op     string // acquire, release, mint, write
	Lease  string
	Token  int64 // of mint and write; 0 from a mint that may or may not have used up a number
	Fenced bool  // of write
	Call   int64
	Return int64
}

// state is that of a fenced mutex: who holds it, and the newest token.
type state struct {
	holder string
	token  int64
}

// fencedMutex is the model: one holder at a time; a token is minted by the holder only and is greater than all before;
// a write is applied exactly if its token is the newest.
var fencedMutex = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{state{}} },
	Step: func(before, input, _ any) []any {
		s, e := before.(state), input.(event)
		switch e.Op {
		case "acquire":
			if s.holder == "" {
				return []any{state{e.Lease, s.token}}
			}
		case "release":
			if s.holder == e.Lease {
				return []any{state{"", s.token}}
			}
		case "mint":
			switch {
			case e.Token == 0:
				return []any{s, state{s.holder, s.token + 1}}
			case s.holder == e.Lease && e.Token > s.token:
				return []any{state{s.holder, e.Token}}
			}
		case "write":
			if e.Fenced == (e.Token < s.token) && e.Token <= s.token {
				return []any{s}
			}
		}
		return nil
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}).ToModel()

// check reports whether the history is one of a fenced mutex. If picture is not empty, that file shows one that is not.
func check(t *testing.T, history []event, picture string) bool {
	t.Helper()
	ops := make([]porcupine.Operation, len(history))
	clients := map[string]int{}
	for i, e := range history {
		client, known := clients[e.Lease]
		if !known {
			client = len(clients)
			clients[e.Lease] = client
		}
		ops[i] = porcupine.Operation{ClientId: client, Input: e, Call: e.Call, Return: e.Return}
	}
	result, info := porcupine.CheckOperationsVerbose(fencedMutex, ops, time.Minute)
	require.NotEqual(t, porcupine.Unknown, result, "the checker ran out of time")
	if result == porcupine.Illegal && picture != "" {
		require.NoError(t, porcupine.VisualizePath(fencedMutex, info, picture))
		t.Log("history:", picture)
	}
	return result == porcupine.Ok
}

// recordHistory is the main function of a process that takes the lock, mints, writes and releases, over and over, and
// prints what it did. It ends when it is killed.
func recordHistory(locks *distlock.Locker) error {
	db, err := sql.Open("pgx", os.Getenv(dsnVariable))
	if err != nil {
		return err
	}
	fence, err := distlock.NewFence(db, "lock_fences")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	record := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		out.Encode(e)
	}
	now := func() int64 { return time.Now().UnixNano() }
	for g := range 3 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d/%d/%d", os.Getpid(), g, n)
				e := event{Op: "acquire", Lease: id, Call: now()}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				lease, err := locks.Lock(ctx, "a")
				cancel()
				if err != nil {
					continue
				}
				e.Return = now()
				acquired := e.Return
				record(e)

				e = event{Op: "mint", Lease: id, Call: now(), Return: math.MaxInt64}
				record(e) // should the process die meanwhile, this is what is known
				token, err := fence.Mint(context.Background(), lease)
				e.Token, e.Return = token.Number, now()
				record(e)
				for range rand.IntN(4) {
					if err != nil {
						break
					}
					e = event{Op: "write", Lease: id, Token: token.Number, Call: now()}
					err = guarded(context.Background(), db, fence, token, func(tx *sql.Tx) error {
						_, err := tx.Exec("UPDATE guarded SET value = value + 1")
						return err
					})
					e.Fenced, e.Return = errors.Is(err, distlock.ErrFenced), now()
					if err == nil || e.Fenced {
						record(e)
					}
					time.Sleep(rand.N(2 * time.Millisecond))
				}
				e = event{Op: "release", Lease: id, Call: now()}
				if err := lease.Unlock(context.Background()); err != nil {
					e.Call = acquired // it was lost at any time
				}
				e.Return = now()
				record(e)
			}
		}()
	}
	select {}
}

// collect reads what a process recorded until it is gone, and puts in what it could not say any more.
func collect(r io.Reader) []event {
	var history []event
	held := map[string]int64{}
	minting := map[string]int{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // cut off in the middle
		}
		switch e.Op {
		case "acquire":
			held[e.Lease] = e.Return
		case "release":
			delete(held, e.Lease)
		case "mint":
			if i, again := minting[e.Lease]; again {
				history[i] = e
				continue
			}
			minting[e.Lease] = len(history)
		}
		history = append(history, e)
	}
	for lease, since := range held { // lost with the process, when its TTL was over
		history = append(history, event{Op: "release", Lease: lease, Call: since, Return: math.MaxInt64})
	}
	return history
}

// Processes use one lock while they are stopped, killed and cut off, and nodes are stopped and crash. What they did is
// checked against the model. Nodes that crash stay away for a TTL, as Redlock asks for of nodes without persistence.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	const processes = 3
	pg := matrix.Postgres()[0]
	dsn := pg.DSN(t)
	db := pg.Connect(t, dsn)
	newFence(t, db, nogap.Postgres)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE guarded (value BIGINT)")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "INSERT INTO guarded VALUES (0)")
	require.NoError(t, err)
	nodes := servers.StartRedis(t, 5)

	var mu sync.Mutex
	var history []event
	var readers sync.WaitGroup
	var writes atomic.Int64 // seen so far, those that were fenced off included
	var proxies [processes][]*faultproxy.Proxy
	var running [processes]*process
	spawn := func(i int) {
		var through []string
		for _, p := range proxies[i] {
			through = append(through, p.Addr())
		}
		p := start(t, "history", through, "", dsnVariable+"="+dsn)
		running[i] = p
		r, w := io.Pipe()
		go func() { // the scanner has the output
			for p.out.Scan() {
				if strings.Contains(p.out.Text(), "write") {
					writes.Add(1)
				}
				fmt.Fprintln(w, p.out.Text())
			}
			w.Close()
		}()
		readers.Go(func() {
			events := collect(r)
			mu.Lock()
			defer mu.Unlock()
			history = append(history, events...)
		})
	}
	for i := range processes {
		for _, n := range nodes {
			proxies[i] = append(proxies[i], faultproxy.New(t, n.Addr, faultproxy.Redis))
		}
		spawn(i)
	}
	killed := 0 // processes
	rng := rand.New(rand.NewPCG(1, 2))
	faults := []func(){
		func() { // a process is stopped
			p := running[rng.IntN(processes)]
			require.NoError(t, p.Process.Signal(syscall.SIGSTOP))
			time.Sleep(time.Duration(float64(childTTL) * (0.5 + rng.Float64())))
			require.NoError(t, p.Process.Signal(syscall.SIGCONT))
		},
		func() { // a process is killed
			i := rng.IntN(processes)
			require.NoError(t, running[i].Process.Kill())
			killed++
			spawn(i)
		},
		func() { // a process is cut off from a number of nodes
			i := rng.IntN(processes)
			cut := rng.Perm(len(nodes))[:1+rng.IntN(len(nodes))]
			for _, n := range cut {
				proxies[i][n].Hang()
			}
			time.Sleep(time.Duration(float64(childTTL) * rng.Float64()))
			for _, n := range cut {
				proxies[i][n].Pass()
			}
		},
		func() { // nodes are stopped
			stopped := rng.Perm(len(nodes))[:1+rng.IntN(3)]
			for _, n := range stopped {
				nodes[n].Pause(t)
			}
			time.Sleep(time.Duration(float64(childTTL) * rng.Float64()))
			for _, n := range stopped {
				nodes[n].Resume(t)
			}
		},
		func() { // a node crashes
			n := nodes[rng.IntN(len(nodes))]
			n.Kill(t)
			time.Sleep(childTTL + 100*time.Millisecond)
			n.Restart(t)
		},
	}
	// On a busy machine it takes longer until enough has happened.
	for i, begin := 0, time.Now(); i < 15 || writes.Load() < 400 && time.Since(begin) < 3*time.Minute; i++ {
		time.Sleep(200 * time.Millisecond)
		faults[i%len(faults)]()
	}
	time.Sleep(childTTL)
	for _, p := range running {
		require.NoError(t, p.Process.Kill())
		killed++
	}
	readers.Wait()

	var applied int64
	count := map[string]int{}
	for _, e := range history {
		kind := e.Op
		if e.Op == "write" && e.Fenced {
			kind = "fenced"
		}
		if e.Op == "write" && !e.Fenced {
			applied++
		}
		count[kind]++
	}
	t.Log(count)
	require.Greater(t, count["write"], 200, "too little happened to be checked")
	var value int64
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT value FROM guarded").Scan(&value))
	require.GreaterOrEqual(t, value, applied, "acknowledged writes are there")
	require.LessOrEqual(t, value, applied+int64(3*killed), "and others only if their process died meanwhile, one on each goroutine")
	require.True(t, check(t, history, filepath.Join(os.TempDir(), "distlock-history.html")), "not linearizable")
}

// The checker must see the faults of a lock as people write it: its TTL is shorter than some work, nothing extends it,
// and it is deleted without a look.
func TestCheckerSeesABrokenLock(t *testing.T) {
	t.Parallel()
	client := connect(t, servers.Redis(t, 1)...)[0]
	key := unique(t) + "a"
	var mu sync.Mutex
	var history []event
	record := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		e.Return = time.Now().UnixNano()
		history = append(history, e)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := range 30 {
				e := event{Op: "acquire", Lease: fmt.Sprintf("%d/%d", g, n), Call: time.Now().UnixNano()}
				for {
					ok, err := client.SetNX(context.Background(), key, "locked", 5*time.Millisecond).Result()
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						break
					}
					time.Sleep(time.Millisecond)
				}
				record(e)
				time.Sleep(rand.N(10 * time.Millisecond))
				e = event{Op: "release", Lease: e.Lease, Call: time.Now().UnixNano()}
				client.Del(context.Background(), key)
				record(e)
			}
		})
	}
	wg.Wait()
	require.False(t, check(t, history, ""), "two holders at once went unseen")
}

// And it must see the late write of a lock that is held with a fence that nobody looks at.
func TestCheckerSeesAnUnguardedWrite(t *testing.T) {
	t.Parallel()
	db := matrix.SQLite()[0].Open(t)
	fence := newFence(t, db, nogap.SQLite)
	addr := servers.Redis(t, 1)
	for _, guard := range []bool{true, false} {
		var history []event
		do := func(op string, lease int, f func(e *event)) {
			e := event{Op: op, Lease: fmt.Sprint(lease), Call: time.Now().UnixNano()}
			f(&e)
			e.Return = time.Now().UnixNano()
			history = append(history, e)
		}
		var leases [2]*distlock.Lease
		var tokens [2]distlock.Token
		for i := range leases {
			locks := newLocker(t, addr, distlock.Prefix(unique(t)))
			var err error
			if i == 1 {
				do("release", 0, func(*event) { expire(t, addr, unique(t)+"a") })
			}
			do("acquire", i, func(*event) { leases[i], err = locks.TryLock(t.Context(), "a") })
			require.NoError(t, err)
			do("mint", i, func(e *event) {
				tokens[i], err = fence.Mint(t.Context(), leases[i])
				e.Token = tokens[i].Number
			})
			require.NoError(t, err)
		}
		do("write", 0, func(e *event) {
			e.Token = tokens[0].Number
			if guard {
				err := guarded(t.Context(), db, fence, tokens[0], func(*sql.Tx) error { return nil })
				e.Fenced = errors.Is(err, distlock.ErrFenced)
			}
		})
		for _, l := range leases {
			l.Unlock(t.Context())
		}
		require.Equal(t, guard, check(t, history, ""))
	}
}
