package distlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// newAsked returns a node, and a round of three nodes to ask it in.
func newAsked(t *testing.T, prompt bool) (*node, *round) {
	t.Helper()
	n := &node{prompt: prompt, timeout: 100 * time.Millisecond}
	return n, newRound(t.Context(), taking, 3, n.timeout)
}

func answer(after time.Duration, err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		time.Sleep(after)
		return "answer", err
	}
}

func TestAskReturnsWhatTheNodeSays(t *testing.T) {
	for _, prompt := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n, r := newAsked(t, prompt)
			got, err := ask(r, n, answer(time.Millisecond, nil))
			require.NoError(t, err)
			require.Equal(t, "answer", got)
			refused := errors.New("connection refused")
			_, err = ask(r, n, answer(time.Millisecond, refused))
			require.ErrorIs(t, err, refused)
			require.False(t, n.late.Load(), "it was quick")
			r.end()
			synctest.Wait()
			require.Error(t, r.ctx.Err(), "the round's context outlives the round")
		})
	}
}

// A node that hangs is waited for until the time is over, and is late from then on.
func TestAskLeavesANodeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, r := newAsked(t, false)
		start := time.Now()
		_, err := ask(r, n, answer(time.Hour, nil))
		require.Equal(t, n.timeout, time.Since(start))
		require.ErrorContains(t, err, "no answer within 100ms")
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
		require.True(t, n.late.Load())
		r.end()

		// Now its answer is waited for until the others have decided.
		r = newRound(t.Context(), taking, 3, n.timeout)
		start = time.Now()
		go func() {
			time.Sleep(time.Millisecond)
			r.vote(&node{index: 1}, true, nil)
			r.vote(&node{index: 2}, true, nil)
		}()
		_, err = ask(r, n, answer(time.Hour, nil))
		require.ErrorIs(t, err, errUnanswered)
		require.Equal(t, time.Millisecond, time.Since(start))
		r.end()

		// An answer in time ends that.
		r = newRound(t.Context(), taking, 3, n.timeout)
		_, err = ask(r, n, answer(time.Millisecond, nil))
		require.NoError(t, err)
		require.False(t, n.late.Load())
		r.end()
		time.Sleep(2 * time.Hour)
	})
}

func TestAskBoundsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := newAsked(t, false)
		n.late.Store(true)
		for range maxLate {
			r := newRound(t.Context(), taking, 3, n.timeout)
			_, err := ask(r, n, answer(time.Hour, nil))
			require.ErrorContains(t, err, "no answer")
			r.end()
		}
		r := newRound(t.Context(), taking, 3, n.timeout)
		start := time.Now()
		_, err := ask(r, n, answer(time.Hour, nil))
		require.ErrorIs(t, err, errOverrun)
		require.Zero(t, time.Since(start))
		r.end()
		time.Sleep(2 * time.Hour)
		require.Zero(t, n.inFlight.Load())
	})
}

func TestAskEndsWithItsCaller(t *testing.T) {
	for _, prompt := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n, r := newAsked(t, prompt)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			r.until(ctx)
			start := time.Now()
			_, err := ask(r, n, answer(time.Hour, nil))
			require.ErrorIs(t, err, errInterrupt)
			require.Equal(t, 10*time.Millisecond, time.Since(start))
			require.False(t, n.late.Load(), "the node had more time")
			r.end()
			time.Sleep(2 * time.Hour)
		})
	}
}

func TestRoundDecides(t *testing.T) {
	tests := map[string]struct {
		total   int
		votes   []bool
		decided bool
	}{
		"nobody yet":           {5, nil, false},
		"two of five":          {5, []bool{true, true}, false},
		"three of five":        {5, []bool{true, false, true, true}, true},
		"two of five refuse":   {5, []bool{false, false}, false},
		"three of five refuse": {5, []bool{false, true, false, false}, true},
		"one of one":           {1, []bool{true}, true},
		"none of one":          {1, []bool{false}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRound(t.Context(), taking, tt.total, time.Second)
			defer r.end()
			refused := 0
			for i, yes := range tt.votes {
				r.vote(&node{index: i, addr: "host"}, yes, errHeld)
				if !yes {
					refused++
				}
			}
			select {
			case <-r.decided:
				require.True(t, tt.decided)
			default:
				require.False(t, tt.decided)
			}
			err := r.error("lock", "a", ErrNotAcquired, nil)
			require.Equal(t, refused, err.held())
			require.Equal(t, tt.total, err.answered())
			require.Len(t, err.Nodes, refused)
		})
	}
}

func TestRoundKeepsTheCallersValues(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
	r := newRound(ctx, taking, 1, time.Minute)
	cancel()
	require.NoError(t, r.ctx.Err(), "a command that was sent is seen to its end")
	require.Equal(t, "trace", r.ctx.Value(key{}))
	require.Equal(t, "trace", r.context().Value(key{}))
	require.Same(t, r, roundOf(r.context()))
	require.Nil(t, roundOf(t.Context()))
	r.end()
	require.Error(t, r.ctx.Err())
}

// A claim that is given up while its node is still being asked is cleaned up when the answer comes, if it was yes.
func TestClaimThatIsGivenUp(t *testing.T) {
	tests := map[string]struct {
		yes  bool
		err  error
		drop bool
	}{
		"granted":                        {true, nil, true},
		"refused":                        {false, nil, false},
		"nobody knows":                   {false, errors.New("EOF"), true},
		"an error of the server is none": {false, redis.Nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			late := &claim{state: asking}
			tell, err := late.leave()
			require.False(t, tell)
			require.ErrorIs(t, err, errUnanswered)
			require.Equal(t, tt.drop, late.settle(tt.yes, tt.err))

			prompt := &claim{state: asking}
			require.False(t, prompt.settle(tt.yes, tt.err), "nobody has given it up")
			tell, _ = prompt.leave()
			require.Equal(t, tt.drop, tell)
		})
	}
}

// A hook of the client that panics fails the command, and not the name of the lock for good.
func TestAskSurvivesAPanic(t *testing.T) {
	for _, prompt := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n, r := newAsked(t, prompt)
			_, err := ask(r, n, func(context.Context) (string, error) { panic("boom") })
			require.EqualError(t, err, "the client panicked: boom")
			require.False(t, n.late.Load())
			require.Zero(t, n.inFlight.Load())
			r.end()
			require.Error(t, r.ctx.Err())
		})
	}
}
