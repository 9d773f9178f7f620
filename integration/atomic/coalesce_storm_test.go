//go:build unix

package atomic_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	stdatomic "sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// tally is what the callers of a row were told.
type tally struct {
	acknowledged, unknownUp, unknownDown stdatomic.Int64
	// How many calls came to what. A failed one has taken nothing.
	granted, unknown, refused, cancelled, failed stdatomic.Int64
	// How many are unknown or failed although nobody cancelled them.
	broken stdatomic.Int64
}

// check compares what is left with what the callers were told. Nobody may have got something for nothing, or the other
// way round, except those who were told that nobody knows.
func (s *tally) check(t *testing.T, start, left int64) {
	t.Helper()
	low, high := start+s.acknowledged.Load()-s.unknownDown.Load(), start+s.acknowledged.Load()+s.unknownUp.Load()
	t.Logf("%d granted, %d refused, %d cancelled, %d unknown, %d failed: %d to %d must be left, %d are",
		s.granted.Load(), s.refused.Load(), s.cancelled.Load(), s.unknown.Load(), s.failed.Load(), low, high, left)
	require.LessOrEqual(t, low, left)
	require.GreaterOrEqual(t, high, left)
	require.GreaterOrEqual(t, left, int64(0))
	require.NotZero(t, s.granted.Load())
	require.NotZero(t, s.refused.Load())
}

// storm makes calls of all kinds, some of which are cancelled.
func (s *tally) storm(t *testing.T, hot *atomic.Coalescer[int64], i, rounds int) {
	rnd := rand.New(rand.NewPCG(uint64(i), 7))
	for range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		if rnd.IntN(8) == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(rnd.IntN(3000))*time.Microsecond)
		}
		n, sign := 1+rnd.Int64N(5), int64(-1)
		var err error
		switch rnd.IntN(6) {
		case 0:
			n = 1
			_, err = hot.DecrementIfPositive(ctx, "sku-1")
		case 1, 2, 3:
			_, err = hot.Decrement(ctx, n, "sku-1")
		case 4:
			sign, n = 1, 3*n
			_, err = hot.Increment(ctx, n, "sku-1")
		default:
			sign, n = 1, 10*n
			_, err = hot.IncrementUpTo(ctx, n, 200, "sku-1")
		}
		stopped := ctx.Err()
		cancel()
		switch {
		case err == nil:
			s.granted.Add(1)
			s.acknowledged.Add(sign * n)
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			s.unknown.Add(1)
			if stopped == nil {
				s.broken.Add(1)
			}
			if sign > 0 {
				s.unknownUp.Add(n)
			} else {
				s.unknownDown.Add(n)
			}
		case errors.Is(err, atomic.ErrInsufficient), errors.Is(err, atomic.ErrLimit):
			s.refused.Add(1)
		case stopped != nil && errors.Is(err, stopped):
			s.cancelled.Add(1)
		default:
			s.failed.Add(1)
			s.broken.Add(1)
		}
	}
}

func TestCoalescerStorm(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		setStock(t, db, 100)
		hot := coalescer(t, db)
		var s tally
		together(500, func(i int) { s.storm(t, hot, i, 10) })
		s.check(t, 100, stockOf[int64](t, db, "sku-1"))
		require.Zero(t, s.failed.Load())
	})
}

// Two processes, and connections that break.
func TestCoalescerStormOnBadConnections(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		db, bad, proxy := itemsBehindProxy(t, target)
		setStock(t, db, 100)
		bad.SetMaxOpenConns(20)
		bad.SetMaxIdleConns(20)
		good := coalescer(t, db)
		hot := coalescer(t, bad, atomic.Timeout(2*time.Second))

		const cuts = 5 // that break a call; one that meets only idle connections breaks none
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		var s tally
		struck := 0
		var cutter sync.WaitGroup
		cutter.Go(func() {
			defer stop()
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for struck < cuts && ctx.Err() == nil {
				before := s.broken.Load()
				proxy.Cut()
				<-tick.C
				if s.broken.Load() > before {
					struck++
				}
			}
		})
		together(500, func(i int) {
			hot := hot
			if i%10 == 0 {
				hot = good
			}
			for round := 0; round == 0 || ctx.Err() == nil; round++ {
				s.storm(t, hot, i+500*round, 20)
			}
		})
		cutter.Wait()
		s.check(t, 100, stockOf[int64](t, db, "sku-1"))
		require.Equal(t, cuts, struck, "cuts that broke a call in a minute")
	})
}

func TestCoalescerBehindPgBouncer(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		setStock(t, db, 100)
		hot := coalescer(t, db)
		var s tally
		together(200, func(i int) { s.storm(t, hot, i, 10) })
		s.check(t, 100, stockOf[int64](t, db, "sku-1"))
		require.Zero(t, s.failed.Load())
	})
}

// On a cluster both nodes take the row at the same time, and one of them has to do its batch again.
func TestCoalescerOnCluster(t *testing.T) { matrix.EachCluster(t, testCoalescerOnCluster) }

func testCoalescerOnCluster(t *testing.T, cluster matrix.Cluster) {
	nodes := cluster.Nodes(t)
	createItems(t, nodes[0], "BIGINT")
	setStock(t, nodes[0], 100)
	cluster.CatchUp(t, nodes[1])
	hots := []*atomic.Coalescer[int64]{coalescer(t, nodes[0]), coalescer(t, nodes[1])}
	var s tally
	together(100, func(i int) { s.storm(t, hots[i%2], i, 10) })
	cluster.CatchUp(t, nodes[0])
	s.check(t, 100, stockOf[int64](t, nodes[0], "sku-1"))
}
