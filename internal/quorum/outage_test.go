package quorum

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOutage(t *testing.T) {
	const limit = 8 * time.Second
	down := &Tally{Total: 1, Failed: []NodeFailure{{Err: errUnanswered}}}
	held := &Tally{Total: 1, Failed: []NodeFailure{{Err: errHeld, Refused: true}}}
	type step struct {
		pause  time.Duration // before it
		failed *Tally
		over   bool // afterwards
	}
	for name, tt := range map[string]struct {
		waits bool // somebody waits all the time
		steps []step
	}{
		"it lasts":                     {waits: true, steps: []step{{0, down, false}, {7 * time.Second, down, false}, {time.Second, down, true}}},
		"seen by watchdogs":            {steps: []step{{0, down, false}, {4 * time.Second, down, false}, {4 * time.Second, down, true}}},
		"in order in between":          {waits: true, steps: []step{{0, down, false}, {4 * time.Second, held, false}, {4 * time.Second, down, false}}},
		"nobody asked in between":      {steps: []step{{0, down, false}, {7 * time.Second, down, false}, {time.Second, down, false}, {4 * time.Second, down, false}, {3 * time.Second, down, true}}},
		"it is over":                   {waits: true, steps: []step{{0, down, false}, {8 * time.Second, down, true}, {time.Second, nil, false}, {0, down, false}}},
		"who comes then need not wait": {steps: []step{{0, down, false}, {4 * time.Second, down, false}, {4 * time.Second, down, true}, {7 * time.Second, down, true}, {9 * time.Second, down, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ns := &Nodes{outage: newOutage(limit, ctx)}
				if tt.waits {
					defer ns.Waiting()()
				}
				for i, s := range tt.steps {
					time.Sleep(s.pause)
					ns.outage.note(s.failed)
					require.Equal(t, s.over, ns.Broken() != nil, i)
					select {
					case <-ns.Hopeless():
						require.True(t, s.over, i)
					default:
						require.False(t, s.over, i)
					}
				}
			})
		})
	}
}

// One failed attempt long after another is no outage for the caller who waits now.
func TestOutageOfAnEarlierCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := &Nodes{outage: newOutage(8*time.Second, t.Context())}
		down := &Tally{Total: 1, Failed: []NodeFailure{{Err: errUnanswered}}}
		done := ns.Waiting()
		ns.outage.note(down)
		done()
		time.Sleep(7 * time.Second)
		defer ns.Waiting()()
		for range 8 {
			ns.outage.note(down)
			require.Nil(t, ns.Broken())
			time.Sleep(time.Second)
		}
		ns.outage.note(down)
		require.NotNil(t, ns.Broken())
	})
}
