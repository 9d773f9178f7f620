package keyqueue_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/keyqueue"
)

type (
	intQueue = keyqueue.QueueOf[string, int]
	intTurn  = keyqueue.TurnOf[string, int]
)

// join returns the turn of a new caller of Join.
func join(t *testing.T, q *intQueue, value int) *intTurn {
	t.Helper()
	turn := &intTurn{Value: value}
	require.NoError(t, keyqueue.Join(q, []byte("a"), 1000, turn))
	return turn
}

func all(*int) bool { return true }

func values(turns []*intTurn) []int {
	got := []int{}
	for _, turn := range turns {
		got = append(got, turn.Value)
	}
	return got
}

func TestCollect(t *testing.T) {
	for name, test := range map[string]struct {
		most   int
		wanted func(*int) bool
		want   []int
	}{
		"all":          {100, all, []int{1, 2, 3, 4}},
		"some":         {2, all, []int{1, 2}},
		"none":         {0, all, []int{}},
		"the even":     {100, func(v *int) bool { return *v%2 == 0 }, []int{2, 4}},
		"one even":     {1, func(v *int) bool { return *v%2 == 0 }, []int{2}},
		"the first":    {100, func(v *int) bool { return *v == 1 }, []int{1}},
		"the last one": {100, func(v *int) bool { return *v == 4 }, []int{4}},
	} {
		t.Run(name, func(t *testing.T) {
			var q intQueue
			leader := join(t, &q, 0)
			require.True(t, leader.Immediate())
			require.Equal(t, keyqueue.Granted, leader.Await(nil))
			waiting := map[int]*intTurn{}
			for v := 1; v <= 4; v++ {
				waiting[v] = join(t, &q, v)
				require.False(t, waiting[v].Immediate())
			}
			batch, err := leader.Collect(test.most, test.wanted, 0)
			require.NoError(t, err)
			require.Equal(t, test.want, values(batch))
			require.Equal(t, 4-len(batch), leader.Behind())
			ended := make(chan struct{})
			close(ended)
			for _, turn := range batch {
				turn.Answer()
				require.Equal(t, keyqueue.Collected, turn.Await(ended), "who was collected can't leave")
				delete(waiting, turn.Value)
			}
			leader.Done()
			for v := 1; v <= 4; v++ { // the others get their turns in their order
				if turn := waiting[v]; turn != nil {
					require.Equal(t, keyqueue.Granted, turn.Await(nil))
					turn.Done()
				}
			}
			held, left := q.Size()
			require.Zero(t, held)
			require.Zero(t, left)
		})
	}
}

// Who was collected waits for the answer, also if it gives up before that.
func TestCollectedWaitsForTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q intQueue
		leader, other := join(t, &q, 0), join(t, &q, 1)
		batch, err := leader.Collect(1, all, 0)
		require.NoError(t, err)
		ended := make(chan struct{})
		close(ended)
		fate := make(chan keyqueue.Fate, 1)
		go func() { fate <- other.Await(ended) }()
		synctest.Wait()
		require.Empty(t, fate)
		batch[0].Answer()
		require.Equal(t, keyqueue.Collected, <-fate)
		leader.Done()
	})
}

// A caller of Wait wants a turn of its own, and no one behind it is served before.
func TestCollectStopsAtAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q intQueue
		leader, before := join(t, &q, 0), join(t, &q, 1)
		var own *intTurn
		go func() { own, _ = q.Wait(t.Context(), "a") }()
		synctest.Wait()
		behind := join(t, &q, 2)
		batch, err := leader.Collect(100, all, 0)
		require.NoError(t, err)
		require.Equal(t, []*intTurn{before}, batch)
		leader.Done()
		synctest.Wait()
		batch, err = own.Collect(100, all, 0)
		require.NoError(t, err)
		require.Equal(t, []*intTurn{behind}, batch)
		own.Done()
	})
}

func TestJoinBounds(t *testing.T) {
	var q intQueue
	leader := join(t, &q, 0)
	first := &intTurn{}
	require.NoError(t, keyqueue.Join(&q, []byte("a"), 1, first))
	require.ErrorIs(t, keyqueue.Join(&q, []byte("a"), 1, new(intTurn)), keyqueue.ErrOverloaded)
	require.NoError(t, keyqueue.Join(&q, []byte("b"), 1, new(intTurn)), "of each key")
	leader.Done()
	require.Equal(t, keyqueue.Granted, first.Await(nil))
	require.NoError(t, keyqueue.Join(&q, []byte("a"), 1, new(intTurn)), "the holder does not count")
}

func TestCloseOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q intQueue
		leader, other := join(t, &q, 0), join(t, &q, 1)
		var waited error
		go func() { _, waited = q.Wait(t.Context(), "a") }()
		synctest.Wait()
		require.False(t, q.Closed())
		q.Close()
		q.Close()
		synctest.Wait()
		require.True(t, q.Closed())
		require.ErrorIs(t, waited, keyqueue.ErrClosed)
		require.Equal(t, keyqueue.Refused, other.Await(nil))
		require.ErrorIs(t, keyqueue.Join(&q, []byte("b"), 1, new(intTurn)), keyqueue.ErrClosed)
		_, err := q.Wait(t.Context(), "b")
		require.ErrorIs(t, err, keyqueue.ErrClosed)
		_, ok := q.Try("b")
		require.False(t, ok)
		_, err = leader.Collect(1, all, 0)
		require.ErrorIs(t, err, keyqueue.ErrClosed)
		leader.Done()
		held, _ := q.Size()
		require.Zero(t, held)
	})
}

func TestPass(t *testing.T) {
	var q intQueue
	first, second, third := join(t, &q, 1), join(t, &q, 2), join(t, &q, 3)
	first.Pass(func(next *int) { *next += 10 })
	require.Equal(t, keyqueue.Granted, second.Await(nil))
	require.Equal(t, 12, second.Value)
	never := func(*int) { t.Error("nothing must be left to anybody") }
	first.Pass(never)
	second.Done()
	second.Pass(never)
	require.Equal(t, 3, third.Value)
	third.Pass(never)
	held, _ := q.Size()
	require.Zero(t, held)
}

// limit is Collect that limits the turn and finds nobody.
func limit(t *testing.T, turn *intTurn, d time.Duration) {
	t.Helper()
	batch, err := turn.Collect(100, func(*int) bool { return false }, d)
	require.NoError(t, err)
	require.Empty(t, batch)
}

// The time of a limited turn begins when somebody waits for it.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q intQueue
		leader := join(t, &q, 0)
		limit(t, leader, time.Minute)
		time.Sleep(time.Hour)
		other := join(t, &q, 1)
		start := time.Now()
		require.Equal(t, keyqueue.Granted, other.Await(nil))
		require.Equal(t, time.Minute, time.Since(start))
		leader.Pass(func(*int) { t.Error("the turn is over") })
		limit(t, leader, time.Second)

		third := join(t, &q, 2)
		time.Sleep(time.Hour)
		require.Equal(t, 1, other.Behind(), "its own turn is not limited")
		limit(t, other, time.Second)
		start = time.Now()
		require.Equal(t, keyqueue.Granted, third.Await(nil))
		require.Equal(t, time.Second, time.Since(start))

		fourth := join(t, &q, 3)
		batch, err := third.Collect(1, all, time.Second)
		require.NoError(t, err)
		require.Equal(t, []*intTurn{fourth}, batch)
		fifth := join(t, &q, 4)
		time.Sleep(time.Hour)
		require.Equal(t, 1, third.Behind(), "a turn with a batch is not limited")
		third.Done()
		require.Equal(t, keyqueue.Granted, fifth.Await(nil))
	})
}

// Callers who combine, wait for turns of their own and give up, and turns that a timer ends: each caller is served once,
// by one at a time, and nothing is left behind.
func TestHammerOfBatches(t *testing.T) {
	type call struct {
		done   <-chan struct{}
		served int
	}
	var q keyqueue.QueueOf[string, call]
	var inside, served, left, granted atomic.Int64
	serve := func(c *call) {
		if c.served++; c.served != 1 {
			t.Error("served twice")
		}
		served.Add(1)
	}
	lead := func(turn *keyqueue.TurnOf[string, call], i int) {
		if inside.Add(1) != 1 {
			t.Error("two holders at once")
		}
		if i%3 == 0 {
			runtime.Gosched()
		}
		batch, err := turn.Collect(1+i%7, func(c *call) bool {
			select {
			case <-c.done:
				return false
			default:
				return true
			}
		}, 0)
		if err != nil {
			t.Error(err)
		}
		serve(&turn.Value)
		for _, other := range batch {
			serve(&other.Value)
			other.Answer()
		}
		inside.Add(-1)
		if i%5 == 0 {
			go turn.Done() // as a timer would
		}
		turn.Pass(func(*call) {})
	}
	var wg sync.WaitGroup
	const callers, rounds = 16, 1000
	for range callers {
		wg.Go(func() {
			for i := range rounds {
				ctx, cancel := context.WithCancel(context.Background())
				switch i % 8 {
				case 0:
					go cancel()
				case 1:
					time.AfterFunc(time.Duration(rand.IntN(50))*time.Microsecond, cancel)
				case 2:
					turn, err := q.Wait(ctx, "a")
					if err != nil {
						t.Error(err)
						cancel()
						return
					}
					granted.Add(1)
					if inside.Add(1) != 1 {
						t.Error("two holders at once")
					}
					inside.Add(-1)
					turn.Done()
					cancel()
					continue
				}
				turn := &keyqueue.TurnOf[string, call]{Value: call{done: ctx.Done()}}
				if err := keyqueue.Join(&q, []byte("a"), callers, turn); err != nil {
					t.Error(err)
				}
				switch turn.Await(ctx.Done()) {
				case keyqueue.Granted:
					lead(turn, i)
				case keyqueue.Left:
					left.Add(1)
				case keyqueue.Collected:
					if turn.Value.served != 1 {
						t.Error("answered and not served")
					}
				default:
					t.Error("nobody closed the queue")
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, callers*rounds, served.Load()+left.Load()+granted.Load())
	require.NotZero(t, left.Load())
	held, waiting := q.Size()
	require.Zero(t, held)
	require.Zero(t, waiting)
}
