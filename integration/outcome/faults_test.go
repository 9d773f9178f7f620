//go:build unix

package outcome_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

// cancelled calls f with a context that ends at a random moment, by a deadline or by a call of cancel. Before, it sees to it that
// the pool has a connection: pgx has closed the one of the last call, and to make one takes longer than what is to be cancelled.
func (s *storm) cancelled(c *client) func(context.Context, *rand.Rand, func(context.Context)) {
	return func(ctx context.Context, rng *rand.Rand, f func(context.Context)) {
		_ = c.db.PingContext(ctx)
		s.struck(s.fault, 1)
		d := upTo(rng, 3*time.Millisecond)
		if rng.IntN(2) == 0 {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			f(ctx)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer time.AfterFunc(d, cancel).Stop()
		f(ctx)
	}
}

// each runs a storm on one target for each server and driver of those that are given, all at once: how rows are counted
// makes no difference here.
func each(t *testing.T, targets []matrix.Target, f func(*testing.T, matrix.Target)) {
	t.Helper()
	t.Parallel()
	seen := map[string]bool{}
	targets = slices.DeleteFunc(targets, func(target matrix.Target) bool {
		key := target.Dialect.String() + target.Driver
		defer func() { seen[key] = true }()
		return seen[key]
	})
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		t.Parallel()
		f(t, target)
	})
}

// Nobody holds a lock, and the server lives.
func TestCancelled(t *testing.T) {
	each(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		s := newStorm(t, target, "cancelled", *calls)
		c := s.connect(t, s.dsn)
		s.run(t, c, s.cancelled(c))
		s.audit(t, c)
	})
}

// Another transaction holds all rows locked, and lets them go at a random moment, or when the calls have returned. lib/pq may wait
// on in spite of a context: its request to cancel can reach the server before the statement does, and it sends one only. So
// do drivers of SQLite.
func TestCancelledWhileBlocked(t *testing.T) {
	each(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		s := newStorm(t, target, "cancelled while blocked", *calls)
		c := s.connect(t, s.dsn)
		blocker := target.Connect(t, s.dsn)
		blocker.SetMaxIdleConns(-1) // audit waits until no session is left
		// Each round may wait for the blocker.
		ctx, rng := concurrent.Within(t, 10*s.enough()), s.rng(-1)
		cancelled := s.cancelled(c)
		for s.left() {
			tx, err := blocker.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE items SET version = version + 1")
			require.NoError(t, err)
			held := upTo(rng, 100*time.Millisecond)
			if rng.IntN(2) == 0 && target.Dialect != nogap.SQLite {
				held = 1500 * time.Millisecond
			}
			release := time.AfterFunc(held, func() { _ = tx.Rollback() })
			concurrent.Run(t, workers, func(i int) error {
				cancelled(ctx, s.rngs[i], func(ctx context.Context) { _, _ = s.call(ctx, c, s.fault) })
				return nil
			})
			release.Stop()
			_ = tx.Rollback()
		}
		s.audit(t, c)
	})
}

// An administrator ends sessions, one after the other.
func TestTerminated(t *testing.T) {
	each(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		s := newStorm(t, target, "terminated", *calls)
		c := s.connect(t, s.dsn)
		ctx, stop := context.WithCancel(concurrent.Within(t, s.enough()))
		var killer sync.WaitGroup
		killer.Go(func() {
			for rng := s.rng(-1); ctx.Err() == nil; {
				struck, err := s.terminate(ctx, rng.IntN)
				s.struck(s.fault, count(struck))
				if ctx.Err() == nil && err != nil {
					t.Error(err)
					return
				}
			}
		})
		s.run(t, c, func(ctx context.Context, _ *rand.Rand, f func(context.Context)) { f(ctx) })
		stop()
		killer.Wait()
		s.audit(t, c)
	})
}

// A breakage is what a proxy does to a call.
type breakage struct {
	name string
	// with makes a call under the fault, and reports whether it has struck.
	with func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) (struck bool)
}

// longest is how long a network swallows everything, at most.
const longest = 3 * time.Second

var breakages = []breakage{
	{"latency", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		proxy.Delay(upTo(rng, 3*time.Millisecond))
		defer proxy.Pass()
		if rng.IntN(2) == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, upTo(rng, 30*time.Millisecond))
			defer cancel()
		}
		f(ctx)
		return true
	}},
	{"request lost", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		return armed(ctx, proxy, proxy.LoseRequest, nth(rng), f)
	}},
	{"answer lost", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		return armed(ctx, proxy, proxy.LoseReply, nth(rng), f)
	}},
	{"answer to COMMIT lost", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		return armed(ctx, proxy, proxy.LoseReply, commits(), f)
	}},
	{"cut in mid-statement", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		return after(upTo(rng, 3*time.Millisecond), proxy.Cut, func() { f(ctx) })
	}},
	{"slow close", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		proxy.CloseSlowly(upTo(rng, 100*time.Millisecond))
		lose := proxy.LoseReply
		if rng.IntN(2) == 0 {
			lose = proxy.LoseRequest
		}
		return armed(ctx, proxy, lose, nth(rng), f)
	}},
	{"half-close", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) bool {
		half := proxy.EndReplies
		if rng.IntN(2) == 0 {
			half = proxy.EndRequests
		}
		return after(upTo(rng, 3*time.Millisecond), half, func() { f(ctx) })
	}},
	{"blackhole", func(ctx context.Context, rng *rand.Rand, proxy *faultproxy.Proxy, f func(context.Context)) (struck bool) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond+upTo(rng, 20*time.Millisecond))
		defer cancel()
		recovers := func() { proxy.Cut(); proxy.Pass() }
		// lib/pq waits that long for a new connection, as it has no connect_timeout: see TestBlackhole.
		defer time.AfterFunc(longest, recovers).Stop()
		if rng.IntN(2) == 0 {
			recovers = proxy.Pass
		}
		defer func() { recovers() }()
		switch rng.IntN(3) {
		case 0:
			return armedUntil(ctx, proxy.HoldRequest, nth(rng), f)
		case 1:
			return armedUntil(ctx, proxy.HoldReply, nth(rng), f)
		}
		return after(upTo(rng, 3*time.Millisecond), proxy.Hang, func() { f(ctx) })
	}},
}

// nth matches one of the first requests of a call.
func nth(rng *rand.Rand) faultproxy.Match {
	countdown := rng.IntN(4) + 1
	return func(r faultproxy.Request) bool {
		countdown -= len(r.Executes)
		return countdown <= 0 && len(r.Executes) > 0
	}
}

// commits matches the request that keeps what a call has written: a COMMIT, or a statement outside a transaction.
func commits() faultproxy.Match {
	begun := false
	return func(r faultproxy.Request) bool {
		for _, statement := range r.Executes {
			statement = strings.ToUpper(statement)
			begun = begun || strings.HasPrefix(statement, "BEGIN") || strings.HasPrefix(statement, "START TRANSACTION")
			if strings.HasPrefix(statement, "COMMIT") || !begun && (strings.Contains(statement, "UPDATE ") ||
				strings.Contains(statement, "INSERT ") || strings.Contains(statement, "DELETE ")) {
				return true
			}
		}
		return false
	}
}

// armed makes a call under a fault that waits for a request, and forgets the fault.
func armed(ctx context.Context, proxy *faultproxy.Proxy, arm func(faultproxy.Match) *faultproxy.Fault, match faultproxy.Match,
	f func(context.Context)) (struck bool) {
	defer proxy.Pass()
	return armedUntil(ctx, arm, match, f)
}

func armedUntil(ctx context.Context, arm func(faultproxy.Match) *faultproxy.Fault, match faultproxy.Match, f func(context.Context)) bool {
	fault := arm(match)
	f(ctx)
	select {
	case <-fault.Done():
		return true
	default:
		return false
	}
}

// after makes a call, and a fault some time after the call has begun. It reports whether the fault has struck. It returns only when
// the fault is done, so that the fault can't come after what ends it.
func after(d time.Duration, fault, call func()) (struck bool) {
	over := make(chan struct{})
	timer := time.AfterFunc(d, func() {
		fault()
		close(over)
	})
	call()
	if timer.Stop() {
		return false
	}
	<-over
	return true
}

// A proxy breaks the connections in all ways.
func TestBrokenConnections(t *testing.T) {
	each(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		s := newStorm(t, target, "proxy", inLong(4, 23)**calls)
		s.audit(t, s.throughProxies(t, breakages)...)
	})
}

// throughProxies makes the calls of each worker through a proxy of its own.
func (s *storm) throughProxies(t *testing.T, breakages []breakage) []*client {
	t.Helper()
	clients, proxies := s.proxied(t)
	s.breakThrough(t, clients, proxies, breakages)
	return clients
}

// proxied returns a client and its proxy for each worker.
func (s *storm) proxied(t *testing.T) (clients []*client, proxies []*faultproxy.Proxy) {
	t.Helper()
	for i := range workers {
		proxy, through := s.Proxy(t, s.dsn)
		if i%2 == 1 {
			proxy.EndWithEOF()
		}
		proxies, clients = append(proxies, proxy), append(clients, s.connect(t, through))
	}
	return clients, proxies
}

// breakThrough makes all calls that are left, each under a fault.
func (s *storm) breakThrough(t *testing.T, clients []*client, proxies []*faultproxy.Proxy, breakages []breakage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.enough())
	defer cancel()
	concurrent.Run(t, workers, func(i int) error {
		for ok := true; ok; {
			b := choose(s.rngs[i], breakages)
			struck := b.with(ctx, s.rngs[i], proxies[i], func(ctx context.Context) { _, ok = s.call(ctx, clients[i], b.name) })
			s.struck(b.name, count(struck))
		}
		return nil
	})
}

// choose chooses a fault. A black hole costs its caller a second, so in three cases of four another one is chosen.
func choose(rng *rand.Rand, breakages []breakage) breakage {
	b := breakages[rng.IntN(len(breakages))]
	if b.name == "blackhole" && rng.IntN(4) > 0 {
		b = breakages[rng.IntN(len(breakages))]
	}
	return b
}

// The same calls as people write them over database/sql alone, with lib/pq: the audit must see what that breaks, or it sees
// nothing of nogap's either.
func TestAuditSeesWhatBreaks(t *testing.T) {
	t.Parallel()
	if servers.Newest() {
		return // lib/pq is not among its drivers
	}
	target := matrix.Postgres()[1]
	s := newStormAt(t, target, target.DSN(t), "plain database/sql", max(4**calls, 300), plainCalls)
	s.apart = true
	hangs := func(b breakage) bool { return b.name == "blackhole" } // for ever
	seen := s.count(t, s.throughProxies(t, slices.DeleteFunc(slices.Clone(breakages), hangs))...)
	require.Positive(t, seen.doubled, "database/sql sends a statement again whose answer was lost")
	require.Positive(t, seen.despite, "the error of a COMMIT whose answer was lost says nothing")
}
