//go:build unix

package contest

import (
	"context"
	"errors"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

// tally is a Subject that ways add to.
type tally struct{ n, before atomic.Int64 }

func (t *tally) Setup(context.Context, *Stage) error { return nil }

func (t *tally) Before(context.Context, *Stage) error {
	t.before.Store(t.n.Load())
	return nil
}

func (t *tally) After(_ context.Context, _ *Stage, acknowledged, failed int64) (Wrong, error) {
	return Compared(t.n.Load()-t.before.Load(), acknowledged, failed), nil
}

// way returns one whose n-th call adds what add says, and returns its error.
func way(name string, kind Kind, add func(n int64) (int64, error)) Way {
	return Way{Name: name, Kind: kind, Open: func(_ context.Context, s *Stage) (Call, error) {
		var calls atomic.Int64
		return func(context.Context, int) error {
			more, err := add(calls.Add(1))
			s.Subject.(*tally).n.Add(more)
			return err
		}, nil
	}}
}

func runWays(t *testing.T, only string, ways ...Way) []Result {
	t.Helper()
	sc := Scenario{Name: "tally", NewSubject: func() Subject { return &tally{} }, Ways: ways}
	plan := Plan{Rounds: 3, Round: time.Millisecond, Only: regexp.MustCompile(only)}
	results, err := Run(t.Context(), sc, &places.Place{Name: "here"}, Size{Callers: 4}, plan)
	require.NoError(t, err)
	return results
}

// What a way loses, does twice, or does in calls that fail is counted against it and nobody else.
func TestWrongWaysAreSeen(t *testing.T) {
	refused := errors.New("refused")
	results := runWays(t, "",
		way("right", ByHand, func(int64) (int64, error) { return 1, nil }),
		way("loses every second", Naive, func(n int64) (int64, error) { return n % 2, nil }),
		way("does it twice", Naive, func(int64) (int64, error) { return 2, nil }),
		way("fails, having done it", Rival, func(int64) (int64, error) { return 1, refused }),
	)
	require.Len(t, results, 4)
	right, loser, twice, fails := results[0], results[1], results[2], results[3]
	for _, r := range []Result{right, loser, twice} {
		require.Positive(t, r.Calls, r.Way)
		require.Zero(t, r.Failed, r.Way)
		require.Equal(t, "right", r.Base)
	}
	require.Zero(t, right.Lost+right.Extra)
	require.Positive(t, loser.Lost)
	require.LessOrEqual(t, loser.Lost, loser.Calls/2+int64(3*loser.Callers))
	require.Zero(t, loser.Extra)
	require.Equal(t, twice.Calls, twice.Extra)
	require.Zero(t, fails.Calls+fails.Lost+fails.Extra, "a call that fails may have been applied")
	require.Positive(t, fails.Failed)
	require.Equal(t, refused.Error(), fails.Error)
}

func TestOnly(t *testing.T) {
	add := func(int64) (int64, error) { return 1, nil }
	results := runWays(t, "tally/here/4 callers/b$", way("a", ByHand, add), way("b", Rival, add))
	require.Len(t, results, 1)
	require.Equal(t, "b", results[0].Way)
	require.Empty(t, runWays(t, "500 callers", way("a", ByHand, add)))
}

// A caller that finds nothing to do stops, and that is no failure.
func TestNothingLeft(t *testing.T) {
	results := runWays(t, "", way("queue", ByHand, func(n int64) (int64, error) {
		if n > 2 {
			return 0, ErrNothingLeft
		}
		return 1, nil
	}))
	require.Zero(t, results[0].Failed+results[0].Lost+results[0].Extra)
}

func TestJain(t *testing.T) {
	require.InDelta(t, 1, jain([]int{7, 7, 7}), 1e-9)
	require.InDelta(t, 0.25, jain([]int{9, 0, 0, 0}), 1e-9)
	require.Zero(t, jain([]int{0, 0}))
}

func TestSpread(t *testing.T) {
	require.Equal(t, Spread{Median: 2, Low: 1, High: 9}, spread([]float64{9, 1, 2}))
	require.Equal(t, Spread{Median: 2.5, Low: 1, High: 4}, spread([]float64{4, 3, 2, 1}))
}
