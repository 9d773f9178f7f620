//go:build unix

package idempotency_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
)

var lostCommits = flag.Int("idempotency.lost", 30, "how many COMMITs each target loses in each way")

// commits matches the request that runs COMMIT, and not one that begins a READ COMMITTED transaction.
func commits(r faultproxy.Request) bool {
	return slices.ContainsFunc(r.Executes, func(sql string) bool { return strings.EqualFold(strings.Trim(sql, " ;"), "COMMIT") })
}

// A COMMIT that is lost, or whose answer is lost, has no effect or one, and Do finds out which: it returns the result of one effect.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	matrix.Parallel(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		for name, lose := range map[string]func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Fault{
			"request": (*faultproxy.Proxy).LoseRequest, "reply": (*faultproxy.Proxy).LoseReply,
		} {
			t.Run(name, func(t *testing.T) {
				dsn := target.DSN(t)
				proxy, through := target.Proxy(t, dsn)
				direct, db := target.Connect(t, dsn), target.Connect(t, through)
				newStore(t, target, direct)
				s := storeOf(t, db)
				ctx := within(t, 5*time.Minute)
				_, _, err := s.Do(ctx, "before", pay("before", 0))
				require.NoError(t, err)
				for i := range *lostCommits {
					key, runs := fmt.Sprint("k", i), 0
					lost := lose(proxy, commits)
					got, replayed, err := s.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
						runs++
						return pay(key, runs)(ctx, tx)
					})
					lost.Await(t)
					require.NoError(t, err)
					require.False(t, replayed, "it is this call's own result")
					require.EqualValues(t, runs, got.Left, "the result is that of the run that stands")
				}
				require.Equal(t, *lostCommits+1, payments(t, direct))
				require.Equal(t, *lostCommits+1, number(t, direct, "SELECT count(DISTINCT id) FROM payments"))
			})
		}
	})
}

// A black hole swallows one connection at COMMIT. Its session has the key's row locked until it is ended, by the next call.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Fault{
		"request": (*faultproxy.Proxy).HoldRequest, "reply": (*faultproxy.Proxy).HoldReply,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			matrix.Parallel(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
				dsn := target.DSN(t)
				proxy, through := target.Proxy(t, dsn)
				direct := target.Connect(t, dsn)
				db, err := sql.Open(target.Driver, through)
				require.NoError(t, err)
				defer db.Close() // of which a driver says that the connection was bad
				defer proxy.Cut()
				newStore(t, target, direct)
				s := storeOf(t, db)
				awaitUptime(t, target, direct)
				ctx := within(t, 2*time.Minute)
				_, _, err = s.Do(ctx, "before", pay("before", 0))
				require.NoError(t, err)

				// The context outlives the patience with COMMIT: one call settles it.
				held := hold(proxy, commits)
				_, replayed, err := s.Do(ctx, "patient", pay("patient", 1))
				held.Await(t)
				require.NoError(t, err)
				require.False(t, replayed)

				// It ends before: the next call does.
				held = hold(proxy, commits)
				short, cancel := context.WithCancel(ctx)
				onceStruck(held, cancel)
				_, _, err = s.Do(short, "short", pay("short", 1))
				held.Await(t)
				require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
				require.ErrorIs(t, err, context.Canceled)
				got, _, err := s.Do(ctx, "short", pay("short", 1))
				require.NoError(t, err)
				require.Equal(t, receipt{"short", 1}, got)
				require.Equal(t, 3, payments(t, direct))
			})
		})
	}
}

// onceStruck calls f when a fault has struck.
func onceStruck(fault *faultproxy.Fault, f func()) {
	go func() {
		<-fault.Done()
		f()
	}()
}

// awaitUptime waits until a server that numbers its sessions anew with every start has surely been up for a while: it ends no
// session that may be one of the start before. Servers tell their age in whole seconds.
func awaitUptime(t *testing.T, target matrix.Target, db *sql.DB) {
	t.Helper()
	if target.Dialect != nogap.MySQL && target.Dialect != nogap.MariaDB {
		return
	}
	require.Eventually(t, func() bool {
		var name string
		var seconds int
		require.NoError(t, db.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Uptime'").Scan(&name, &seconds))
		return seconds >= 3
	}, 20*time.Second, 50*time.Millisecond)
}

// The network goes away at COMMIT and comes back later: Do goes on until then, or until its context ends.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	matrix.Parallel(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		proxy, through := target.Proxy(t, dsn)
		direct, db := target.Connect(t, dsn), target.Connect(t, through)
		newStore(t, target, direct)
		s := storeOf(t, db)
		ctx := within(t, time.Minute)
		_, _, err := s.Do(ctx, "before", pay("before", 0))
		require.NoError(t, err)
		goAway := func(ctx context.Context, tx *sqlx.Tx, then func()) (receipt, error) {
			got, err := pay("a", 1)(ctx, tx)
			proxy.Refuse()
			onceStruck(proxy.LoseReply(commits), then)
			return got, err
		}
		short, cancel := context.WithCancel(ctx)
		defer cancel()
		_, _, err = s.Do(short, "k", func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			return goAway(ctx, tx, func() { time.AfterFunc(300*time.Millisecond, cancel) })
		})
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.Canceled)
		proxy.Pass()
		_, replayed, err := s.Do(ctx, "k", pay("a", 1))
		require.NoError(t, err)
		require.False(t, replayed, "nobody else has got it")

		var back atomic.Bool
		_, _, err = s.Do(ctx, "later", func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			if !back.Swap(true) {
				return goAway(ctx, tx, func() { time.AfterFunc(700*time.Millisecond, proxy.Pass) })
			}
			return pay("a", 1)(ctx, tx)
		})
		require.NoError(t, err)
		require.Equal(t, 3, payments(t, direct))
	})
}

// The service closes its pool while the outcome of a COMMIT is looked for: no later try can find it out.
func TestPoolIsClosed(t *testing.T) {
	t.Parallel()
	matrix.Parallel(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		proxy, through := target.Proxy(t, dsn)
		direct, db := target.Connect(t, dsn), target.Connect(t, through)
		newStore(t, target, direct)
		ctx := within(t, time.Minute)
		_, _, err := storeOf(t, db).Do(ctx, "k", func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			proxy.Refuse()
			onceStruck(proxy.LoseReply(commits), func() { assert.NoError(t, db.Close()) })
			return pay("k", 1)(ctx, tx)
		})
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorContains(t, err, "database is closed")
		require.NoError(t, ctx.Err())
		got, _, err := storeOf(t, direct).Do(ctx, "k", pay("k", 2))
		require.NoError(t, err)
		require.Equal(t, receipt{"k", 1}, got)
	})
}
