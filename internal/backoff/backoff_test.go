package backoff_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/backoff"
)

func TestFullJitterStaysWithinItsLimit(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	tests := map[string]struct {
		base, most time.Duration
		attempt    int
		limit      time.Duration
	}{
		"first attempt":           {10 * time.Millisecond, time.Second, 1, 10 * time.Millisecond},
		"second attempt":          {10 * time.Millisecond, time.Second, 2, 20 * time.Millisecond},
		"seventh attempt":         {10 * time.Millisecond, time.Second, 7, 640 * time.Millisecond},
		"capped":                  {10 * time.Millisecond, time.Second, 8, time.Second},
		"attempt zero":            {10 * time.Millisecond, time.Second, 0, 10 * time.Millisecond},
		"negative attempt":        {10 * time.Millisecond, time.Second, math.MinInt, 10 * time.Millisecond},
		"attempt far beyond":      {10 * time.Millisecond, time.Second, math.MaxInt, time.Second},
		"just before overflow":    {1, forever, 63, 1 << 62},
		"would overflow":          {1, forever, 64, forever},
		"longest possible":        {forever, forever, 1000, forever},
		"base above the cap":      {time.Minute, time.Second, 1, time.Second},
		"no base":                 {0, time.Second, 5, 0},
		"negative base":           {-1, time.Second, 5, 0},
		"no cap":                  {time.Second, 0, 5, 0},
		"negative cap":            {time.Second, -time.Second, 70, 0},
		"negative base far along": {-1, time.Second, 100, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy := backoff.FullJitter(tt.base, tt.most)
			var longest time.Duration
			for range 2000 {
				d := policy(tt.attempt)
				require.GreaterOrEqual(t, d, time.Duration(0))
				require.LessOrEqual(t, d, tt.limit)
				longest = max(longest, d)
			}
			// The chance that 2000 even draws all stay below nine tenths is 10^-91.
			require.GreaterOrEqual(t, longest, tt.limit/10*9, "the limit is never neared")
		})
	}
}

func TestFullJitterIsEvenlySpread(t *testing.T) {
	policy := backoff.FullJitter(100*time.Millisecond, time.Second)
	var tenths [10]int
	const draws = 100_000
	for range draws {
		tenths[min(int(policy(1)/(10*time.Millisecond)), 9)]++
	}
	for i, n := range tenths {
		require.InDelta(t, draws/10, n, draws/10*0.1, "tenth %d", i)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, backoff.Sleep(t.Context(), time.Hour))
		require.Equal(t, time.Hour, time.Since(start))

		require.NoError(t, backoff.Sleep(t.Context(), 0))
		require.NoError(t, backoff.Sleep(t.Context(), -time.Hour))
		require.Equal(t, time.Hour, time.Since(start))
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, backoff.Sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, backoff.Sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.ErrorIs(t, backoff.Sleep(ctx, 0), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestPolicyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := backoff.Policy(func(attempt int) time.Duration { return time.Duration(attempt) * time.Minute })
		start := time.Now()
		require.NoError(t, policy.Wait(t.Context(), 3))
		require.Equal(t, 3*time.Minute, time.Since(start))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, policy.Wait(ctx, 3), context.Canceled)
		require.Equal(t, 3*time.Minute, time.Since(start))
	})
}
