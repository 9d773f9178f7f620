package waitqueue

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/quorum"
)

func TestPollWait(t *testing.T) {
	for range 1000 {
		require.LessOrEqual(t, pollWait(time.Hour), time.Second)
		require.GreaterOrEqual(t, pollWait(time.Hour), 700*time.Millisecond)
		require.Equal(t, 11*time.Millisecond, pollWait(10*time.Millisecond), "the holder may have died")
		require.LessOrEqual(t, pollWait(-1), time.Second)
	}
}

func TestNodesOfAreAllNodes(t *testing.T) {
	q := &Waiters{}
	for range 5 {
		q.nodes = append(q.nodes, new(quorum.Node))
	}
	index := func(n *quorum.Node) int {
		for i, other := range q.nodes {
			if n == other {
				return i
			}
		}
		return -1
	}
	first := map[int]int{}
	for _, key := range strings.Split("a b c d e f g h i j k l m n o p q r s t u v w x y z", " ") {
		var order []int
		for _, n := range q.nodesOf(key) {
			order = append(order, index(n))
		}
		require.ElementsMatch(t, []int{0, 1, 2, 3, 4}, order)
		first[order[0]]++
	}
	require.Len(t, first, 5, "locks are spread")
}

// newTurn returns a turn that is there at once.
func newTurn(t *testing.T, q *Waiters) Turn {
	t.Helper()
	turn, waited, err := q.Wait(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, waited)
	return turn
}

func TestWaiterIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{queue: []string{"before"}, ttl: time.Hour}
		q := newQueue(t, s)
		turn := newTurn(t, q)
		start := time.Now()
		time.AfterFunc(100*time.Millisecond, func() {
			q.deliver(q.nodes[0], "lock:k")
		})
		turn.WaitForRelease(t.Context(), true)
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		queue, _ := s.now()
		require.Equal(t, []string{"before", "me"}, queue)

		turn.Acquired()
		turn.Done()
		queue, woken := s.now()
		require.Equal(t, []string{"before", "me"}, queue, "who wakes a process has taken it off the queue")
		require.Empty(t, woken)
	})
}

// A process that was woken, and finds the lock held, comes first now.
func TestWokenInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{ttl: time.Hour}
		q := newQueue(t, s)
		turn := newTurn(t, q)
		time.AfterFunc(time.Millisecond, func() {
			s.set(func() { s.queue = []string{"other"} }) // it has taken us off
			q.deliver(q.nodes[0], "")
		})
		turn.WaitForRelease(t.Context(), true)
		turn.WaitForRelease(t.Context(), true) // until the timer
		queue, _ := s.now()
		require.Equal(t, []string{"me", "other"}, queue)
		turn.Acquired()
		turn.Done()
		queue, _ = s.now()
		require.Equal(t, []string{"other"}, queue)
	})
}

func TestWaitIsBounded(t *testing.T) {
	tests := map[string]struct {
		ttl       time.Duration
		held      bool
		low, high time.Duration
	}{
		"held":              {time.Hour, true, maxWait * 3 / 4, maxWait},
		"the holder dies":   {50 * time.Millisecond, true, 51 * time.Millisecond, 51 * time.Millisecond},
		"free by now":       {0, true, 0, 0},
		"the vote is split": {time.Hour, false, time.Minute, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, &server{ttl: tt.ttl})
				turn := newTurn(t, q)
				start := time.Now()
				turn.WaitForRelease(t.Context(), tt.held)
				require.GreaterOrEqual(t, time.Since(start), tt.low)
				require.LessOrEqual(t, time.Since(start), tt.high)
				turn.Acquired()
				turn.Done()
			})
		})
	}
}

// A caller that gives up leaves the queue, and passes on the hint that it got: to the next process that still listens.
func TestGiveUp(t *testing.T) {
	for name, hinted := range map[string]bool{"not woken": false, "woken": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{queue: []string{"gone", "next"}, gone: map[string]bool{keys.Channel("gone"): true}, ttl: time.Hour}
				q := newQueue(t, s)
				turn := newTurn(t, q)
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				turn.WaitForRelease(ctx, true)
				if hinted {
					q.deliver(q.nodes[0], "lock:k")
				}
				then := make(chan bool, 1)
				turn.GiveUp(func() {
					next, free := q.Try("k")
					next.Done()
					then <- free
				})
				require.True(t, <-then, "the turn has ended")
				queue, woken := s.now()
				if hinted {
					require.Equal(t, []string{keys.Channel("next")}, woken)
					require.Empty(t, queue)
				} else {
					require.Empty(t, woken)
					require.Equal(t, []string{"gone", "next"}, queue)
				}
			})
		})
	}
}

// A hint for a lock for which nobody waits here goes to the next process, unless a caller is about to try.
func TestHintForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{queue: []string{"next"}}
		q := newQueue(t, s)
		turn := newTurn(t, q)
		q.deliver(q.nodes[0], "lock:k")
		synctest.Wait()
		_, woken := s.now()
		require.Empty(t, woken)
		turn.Done()
		q.deliver(q.nodes[0], "lock:k")
		synctest.Wait()
		_, woken = s.now()
		require.Equal(t, []string{keys.Channel("next")}, woken)
	})
}

// A hint that comes late, when its caller has taken a place again, leaves that place behind. Who then releases the lock wakes the
// next process instead.
func TestPlaceLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{ttl: time.Hour}
		q := newQueue(t, s)
		turn := newTurn(t, q)
		turn.WaitForRelease(t.Context(), true) // until the timer
		s.set(func() { s.queue = nil })        // it has been taken off the queue, and the hint is on its way
		time.AfterFunc(time.Millisecond, func() { q.deliver(q.nodes[0], "lock:k") })
		turn.WaitForRelease(t.Context(), true)
		turn.Acquired()
		s.set(func() { s.queue = append(s.queue, "next") })
		q.wakeNext(t.Context(), q.nodes[0], "lock:k") // as a release does
		turn.Done()
		_, woken := s.now()
		require.Equal(t, []string{keys.Channel("next")}, woken)
	})
}

// A release that takes this process off the queue wakes its caller that waits, without a message.
func TestWakeHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{queue: []string{"next"}, ttl: time.Hour}
		q := newQueue(t, s)
		turn := newTurn(t, q)
		start := time.Now()
		time.AfterFunc(time.Millisecond, func() { q.Wake(t.Context(), q.nodes[0], "lock:k", "me") })
		turn.WaitForRelease(t.Context(), true)
		require.Equal(t, time.Millisecond, time.Since(start))
		_, woken := s.now()
		require.Empty(t, woken)
		turn.GiveUp(func() {})
	})
}

func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(server)
		q := newQueue(t, s)
		turn := newTurn(t, q)
		start := time.Now()
		turn.Yield(t.Context())
		require.Equal(t, YieldWait, time.Since(start), "the process that was woken is gone")

		s.set(func() { s.ttl = time.Hour }) // it has the lock
		time.AfterFunc(YieldWait+time.Millisecond, func() { q.deliver(q.nodes[0], "lock:k") })
		start = time.Now()
		turn.Yield(t.Context())
		require.Equal(t, YieldWait+time.Millisecond, time.Since(start))
		turn.Acquired()
		turn.Done()
	})
}

func TestClosedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, &server{ttl: time.Hour})
		first := newTurn(t, q)
		failed := make(chan error)
		go func() {
			_, _, err := q.Wait(t.Context(), "k")
			failed <- err
		}()
		synctest.Wait()
		require.Equal(t, 1, first.Waiting())
		time.AfterFunc(time.Millisecond, q.background.Close)
		start := time.Now()
		first.WaitForRelease(t.Context(), true)
		require.Equal(t, time.Millisecond, time.Since(start))
		require.ErrorIs(t, <-failed, keyqueue.ErrStopped)
		first.GiveUp(func() {})
	})
}
