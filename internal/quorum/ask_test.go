package quorum

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
func newAsked(t *testing.T, prompt bool) (*Node, *round) {
	t.Helper()
	n := &Node{prompt: prompt, timeout: 100 * time.Millisecond}
	return n, newRound(t.Context(), 3, n.timeout)
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
		r = newRound(t.Context(), 3, n.timeout)
		start = time.Now()
		go func() {
			time.Sleep(time.Millisecond)
			r.vote(&Node{index: 1}, nil)
			r.vote(&Node{index: 2}, nil)
		}()
		_, err = ask(r, n, answer(time.Hour, nil))
		require.ErrorIs(t, err, errUnanswered)
		require.Equal(t, time.Millisecond, time.Since(start))
		r.end()

		// An answer in time ends that.
		r = newRound(t.Context(), 3, n.timeout)
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
			r := newRound(t.Context(), 3, n.timeout)
			_, err := ask(r, n, answer(time.Hour, nil))
			require.ErrorContains(t, err, "no answer")
			r.end()
		}
		r := newRound(t.Context(), 3, n.timeout)
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
			r.interruptedBy(ctx)
			start := time.Now()
			_, err := ask(r, n, answer(time.Hour, nil))
			require.ErrorIs(t, err, errInterrupted)
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
			r := newRound(t.Context(), tt.total, time.Second)
			defer r.end()
			refused := 0
			for i, yes := range tt.votes {
				vote := errHeld
				if yes {
					vote = nil
				} else {
					refused++
				}
				r.vote(&Node{index: i, addr: "host"}, vote)
			}
			select {
			case <-r.whenDecided():
				require.True(t, tt.decided)
			default:
				require.False(t, tt.decided)
			}
			tally := r.tally()
			require.Equal(t, tt.total, tally.Total)
			require.Equal(t, refused, tally.Refused())
			require.True(t, tally.Answered())
			require.Len(t, tally.Failed, refused)
		})
	}
}

func TestRoundKeepsTheCallersValues(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
	r := newRound(ctx, 1, time.Minute)
	cancel()
	require.NoError(t, r.ctx.Err(), "a command that was sent is seen to its end")
	require.Equal(t, "trace", r.ctx.Value(key{}))
	r.end()
	require.Error(t, r.ctx.Err())
}

// A grant that is given up while its node is still being asked is cleaned up when the answer comes, if it was yes.
func TestGrantThatIsGivenUp(t *testing.T) {
	tests := map[string]struct {
		yes      bool
		err      error
		unwanted bool
	}{
		"granted":                        {true, nil, true},
		"refused":                        {false, nil, false},
		"nobody knows":                   {false, errors.New("EOF"), true},
		"an error of the server is none": {false, redis.Nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			late := &grant{state: asking}
			tell, err := late.abandon()
			require.False(t, tell)
			require.ErrorIs(t, err, errUnanswered)
			require.Equal(t, tt.unwanted, late.answer(tt.yes, tt.err))

			prompt := &grant{state: asking}
			require.False(t, prompt.answer(tt.yes, tt.err), "nobody has given it up")
			tell, _ = prompt.abandon()
			require.Equal(t, tt.unwanted, tell)
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
