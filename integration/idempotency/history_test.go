//go:build unix

package idempotency_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// asked is a call, for the model.
type asked struct {
	key   string
	value int64 // what the callback returns; 0 if it fails, and lookups if it is a Lookup
}

const lookups = -1

// told is what its caller was told.
type told struct {
	value   int64 // 0 is no result
	own     bool  // it is the result of this call
	refused bool  // the callback ran, and failed
	failed  bool  // nothing was written
	unknown bool
}

// oneResult is the model of a key: it has no result, and from some moment on one for ever.
var oneResult = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) (byKey [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range history {
			key := o.Input.(asked).key
			if _, ok := at[key]; !ok {
				at[key] = len(byKey)
				byKey = append(byKey, nil)
			}
			byKey[at[key]] = append(byKey[at[key]], o)
		}
		return byKey
	},
	Init: func() []any { return []any{int64(0)} },
	Step: func(state, input, output any) []any {
		result, in, out := state.(int64), input.(asked), output.(told)
		switch {
		case out.unknown && result == 0 && in.value > 0:
			return []any{result, in.value}
		case out.unknown, out.failed:
			return []any{result}
		case out.own && result == 0 && in.value > 0 && out.value == in.value:
			return []any{in.value}
		case out.refused && result == 0 && in.value == 0:
			return []any{result}
		case !out.own && !out.refused && out.value == result && (result != 0 || in.value == lookups):
			return []any{result}
		}
		return nil
	},
}

// keyed is what a Store and its imitation have in common.
type keyed interface {
	Do(ctx context.Context, key string, fn func(context.Context, *sqlx.Tx) (receipt, error), opts ...idempotency.DoOption) (receipt, bool, error)
	Lookup(ctx context.Context, key string) (receipt, bool, error)
}

var errRefused = errors.New("refused")

// history lets callers make calls with keys that others use, too, and records who was told what, and when. Some are cut short.
func history(t *testing.T, callers, rounds int, store func(caller int) keyed) []porcupine.Operation {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var operations []porcupine.Operation
	together(t, callers, func(i int) error {
		s := store(i)
		rnd := rand.New(rand.NewPCG(uint64(i), 18))
		for round := range rounds {
			in := asked{key: fmt.Sprint("k", round+rnd.IntN(3)), value: int64(1 + i + round*callers)}
			if kind := rnd.IntN(8); kind < 2 {
				in.value = int64(-kind)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if rnd.IntN(8) == 0 {
				time.AfterFunc(time.Duration(rnd.IntN(20))*time.Millisecond, cancel)
			}
			call := time.Since(began)
			out := ask(ctx, s, in)
			back := time.Since(began)
			cancel()
			if out.unknown {
				back = time.Hour // it may be applied at any time to come
			}
			mu.Lock()
			operations = append(operations, porcupine.Operation{
				ClientId: i, Input: in, Call: int64(call), Output: out, Return: int64(back),
			})
			mu.Unlock()
		}
		return nil
	})
	return operations
}

func ask(ctx context.Context, s keyed, in asked) told {
	var r receipt
	var shared bool
	var err error
	if in.value == lookups {
		r, _, err = s.Lookup(ctx, in.key)
		shared = true
	} else {
		r, shared, err = s.Do(ctx, in.key, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			if in.value == 0 {
				return receipt{}, errRefused
			}
			return pay(in.key, int(in.value))(ctx, tx)
		})
	}
	switch {
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		return told{unknown: true}
	case errors.Is(err, errRefused) && ctx.Err() == nil:
		return told{refused: true}
	case err != nil:
		return told{failed: true}
	}
	return told{value: r.Left, own: !shared}
}

// isLinearizable also counts the calls that were told a result, so that a history in which all fail proves nothing.
func isLinearizable(t *testing.T, operations []porcupine.Operation) bool {
	t.Helper()
	own, shared := 0, 0
	for _, o := range operations {
		switch out := o.Output.(told); {
		case out.own:
			own++
		case out.value != 0:
			shared++
		}
	}
	require.Greater(t, own, 2)
	require.Greater(t, shared, len(operations)/4)
	result := porcupine.CheckOperationsTimeout(oneResult.ToModel(), operations, 5*time.Minute)
	require.NotEqual(t, porcupine.Unknown, result, "the history is too long for the checker")
	return result == porcupine.Ok
}

// requireOneEffect compares what was written with what the keys say.
func requireOneEffect(t *testing.T, db *sql.DB) {
	t.Helper()
	require.Equal(t, keys(t, db), payments(t, db))
	require.Equal(t, keys(t, db), number(t, db, "SELECT count(DISTINCT id) FROM payments"))
}

// Three processes, two of which lose COMMITs and connections.
func TestHistory(t *testing.T) {
	t.Parallel()
	matrix.Parallel(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		direct := target.Connect(t, dsn)
		processes := []keyed{newStore(t, target, direct)}
		var proxies []*faultproxy.Proxy
		for range 2 {
			through := dsn
			if target.Dialect != nogap.SQLite {
				var proxy *faultproxy.Proxy
				proxy, through = target.Proxy(t, dsn)
				proxies = append(proxies, proxy)
			}
			processes = append(processes, storeOf(t, target.Connect(t, through)))
		}
		stop := make(chan struct{})
		var faults sync.WaitGroup
		for i, proxy := range proxies {
			faults.Go(func() { spoil(proxy, uint64(i), stop) })
		}
		operations := history(t, 10, 8, func(caller int) keyed { return processes[caller%len(processes)] })
		close(stop)
		faults.Wait()
		require.True(t, isLinearizable(t, operations))
		requireOneEffect(t, direct)
	})
}

// spoil loses one COMMIT after the other, or its answer, and cuts all connections now and then.
func spoil(proxy *faultproxy.Proxy, seed uint64, stop <-chan struct{}) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	for {
		lose := proxy.LoseReply
		if rnd.IntN(2) == 0 {
			lose = proxy.LoseRequest
		}
		select {
		case <-lose(commits).Done():
		case <-stop:
			proxy.Pass()
			return
		}
		if rnd.IntN(4) == 0 {
			proxy.Cut()
		}
		select { // some are not lost
		case <-time.After(time.Duration(rnd.IntN(10)) * time.Millisecond):
		case <-stop:
		}
	}
}

// The same check sees what is wrong with looking a key up before it is stored.
func TestHistoryFindsABrokenStore(t *testing.T) {
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE results (key TEXT NOT NULL, value BIGINT NOT NULL)")
		exec(t, db, "CREATE TABLE payments (id VARCHAR(300) NOT NULL, n INT NOT NULL)")
		for range 20 {
			exec(t, db, "DELETE FROM results")
			if !isLinearizable(t, history(t, 10, 8, func(int) keyed { return gappy{db} })) {
				return
			}
		}
		t.Fatal("the histories of a broken store were all linearizable")
	})
}

// gappy looks, runs the callback and stores.
type gappy struct{ db *sql.DB }

func (g gappy) Lookup(ctx context.Context, key string) (r receipt, found bool, err error) {
	err = g.db.QueryRowContext(ctx, "SELECT value FROM results WHERE key = $1", key).Scan(&r.Left)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

func (g gappy) Do(
	ctx context.Context, key string, fn func(context.Context, *sqlx.Tx) (receipt, error), _ ...idempotency.DoOption,
) (receipt, bool, error) {
	if r, found, err := g.Lookup(ctx, key); err != nil || found {
		return r, true, err
	}
	tx, err := sqlx.NewDb(g.db, "postgres").BeginTxx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return receipt{}, false, err
	}
	defer tx.Rollback()
	r, err := fn(context.WithoutCancel(ctx), tx)
	if err == nil {
		_, err = tx.Exec("INSERT INTO results VALUES ($1, $2)", key, r.Left)
	}
	if err == nil {
		err = tx.Commit()
	}
	return r, false, err
}

// persistent is a client that tries again after errors that say that nothing was written.
type persistent struct {
	keyed
	calls *atomic.Int32 // that have ended
}

func (p persistent) Do(
	ctx context.Context, key string, fn func(context.Context, *sqlx.Tx) (receipt, error), opts ...idempotency.DoOption,
) (r receipt, replayed bool, err error) {
	err = p.persist(ctx, func() error {
		r, replayed, err = p.keyed.Do(ctx, key, fn, opts...)
		return err
	})
	return r, replayed, err
}

func (p persistent) Lookup(ctx context.Context, key string) (r receipt, found bool, err error) {
	err = p.persist(ctx, func() error {
		r, found, err = p.keyed.Lookup(ctx, key)
		return err
	})
	return r, found, err
}

func (p persistent) persist(ctx context.Context, call func() error) error {
	defer p.calls.Add(1)
	for {
		err := call()
		if err == nil || errors.Is(err, nogap.ErrOutcomeUnknown) || errors.Is(err, errRefused) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A server is killed and started again: with a COMMIT that it has not got, with one whose answer it has not sent, and under
// calls at random.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		target matrix.Target
		start  func(testing.TB) *servers.Server
	}{
		{matrix.Target{Name: "postgres", Dialect: nogap.Postgres, Driver: "pgx"},
			func(tb testing.TB) *servers.Server { return servers.StartPostgres(tb) }},
		{matrix.Target{Name: "mariadb", Dialect: nogap.MariaDB, Driver: "mysql"},
			func(tb testing.TB) *servers.Server { return servers.StartMariaDB(tb) }},
		{matrix.Target{Name: "mysql", Dialect: nogap.MySQL, Driver: "mysql"}, servers.StartMySQL},
	} {
		if k.target.Dialect == nogap.MySQL && len(matrix.MySQL()) == 0 {
			continue
		}
		t.Run(k.target.Name, func(t *testing.T) {
			t.Parallel()
			server := k.start(t)
			dsn := server.DSN
			if k.target.Driver == "mysql" {
				exec(t, k.target.Connect(t, dsn), "CREATE DATABASE shop")
				dsn += "shop?parseTime=true"
			}
			proxy, through := k.target.Proxy(t, dsn)
			direct, db := k.target.Connect(t, dsn), k.target.Connect(t, through)
			near, far := newStore(t, k.target, direct), storeOf(t, db)
			ctx := within(t, 5*time.Minute)
			_, _, err := far.Do(ctx, "before", pay("before", 0))
			require.NoError(t, err)
			for name, hold := range map[string]func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Fault{
				"request": (*faultproxy.Proxy).HoldRequest, "reply": (*faultproxy.Proxy).HoldReply,
			} {
				restarted := make(chan struct{})
				onceStruck(hold(proxy, commits), func() {
					server.Kill(t)
					proxy.Cut()
					server.Restart(t)
					close(restarted)
				})
				runs := 0
				got, replayed, err := far.Do(ctx, name, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
					runs++
					return pay(name, runs)(ctx, tx)
				})
				<-restarted
				require.NoError(t, err, name)
				require.False(t, replayed, "it is this call's own result")
				require.EqualValues(t, runs, got.Left)
				if name == "reply" {
					require.Equal(t, 1, runs, "the COMMIT was carried out")
				}
			}

			var calls atomic.Int32
			restarted := make(chan struct{})
			go func() {
				defer close(restarted)
				for calls.Load() < 20 {
					time.Sleep(time.Millisecond)
				}
				server.Restart(t)
			}()
			processes := []keyed{persistent{near, &calls}, persistent{far, &calls}}
			operations := history(t, 10, 8, func(caller int) keyed { return processes[caller%len(processes)] })
			<-restarted
			require.True(t, isLinearizable(t, operations))
			requireOneEffect(t, direct)
		})
	}
}
