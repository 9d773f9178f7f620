package keyqueue_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/keyqueue"
)

func TestWaitGrantsInArrivalOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q keyqueue.Queue[string]
		first, err := q.Wait(t.Context(), "a")
		require.NoError(t, err)

		var order []int
		for i := range 10 {
			go func() {
				turn, err := q.Wait(t.Context(), "a")
				require.NoError(t, err)
				order = append(order, i) // guarded by the turn
				turn.Done()
			}()
			synctest.Wait()
			require.Equal(t, i+1, q.Waiting("a"))
		}
		require.Empty(t, order)
		first.Done()
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
		require.Zero(t, q.Waiting("a"))
	})
}

// A holder that lets the next one in lets in that one alone, which can tell when the holder is done.
func TestLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q keyqueue.Queue[string]
		first, ok := q.Try("a")
		require.True(t, ok)
		require.False(t, first.LetIn(), "nobody waits")
		require.Nil(t, first.Earlier())
		turns := make(chan *keyqueue.Turn[string], 3)
		ctx, cancel := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{t.Context(), ctx, t.Context()} {
			go func() {
				if turn, err := q.Wait(ctx, "a"); err == nil {
					turns <- turn
				}
			}()
			synctest.Wait()
		}
		require.True(t, first.LetIn())
		require.False(t, first.LetIn(), "once")
		second := <-turns
		synctest.Wait()
		require.Empty(t, turns)
		open := func(turn *keyqueue.Turn[string]) bool {
			select {
			case <-turn.Earlier():
				return false
			default:
				return true
			}
		}
		require.True(t, open(second))
		cancel() // the third
		synctest.Wait()
		second.Done() // gives up before the first is done
		fourth := <-turns
		require.True(t, open(fourth))
		require.False(t, first.Done(), "has let somebody in before")
		require.False(t, open(fourth))
		fourth.Done()
		require.Zero(t, q.Waiting("a"))
		_, ok = q.Try("a")
		require.True(t, ok)
	})
}

func TestKeysAreIndependent(t *testing.T) {
	var q keyqueue.Queue[string]
	a, err := q.Wait(t.Context(), "a")
	require.NoError(t, err)
	b, err := q.Wait(t.Context(), "b")
	require.NoError(t, err)
	a.Done()
	_, ok := q.Try("b")
	require.False(t, ok)
	b.Done()
}

func TestTry(t *testing.T) {
	var q keyqueue.Queue[string]
	turn, ok := q.Try("a")
	require.True(t, ok)
	_, ok = q.Try("a")
	require.False(t, ok, "held")
	turn.Done()
	again, ok := q.Try("a")
	require.True(t, ok)

	turn.Done()
	_, ok = q.Try("a")
	require.False(t, ok, "a second Done must not end somebody else's turn")
	again.Done()
}

func TestWaitWithEndedContext(t *testing.T) {
	var q keyqueue.Queue[string]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := q.Wait(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	turn, ok := q.Try("a")
	require.True(t, ok, "a caller that gave up before it came holds nothing")
	turn.Done()
}

// A caller that gives up leaves the line from any place in it, and those around it keep their order.
func TestCancelledWaiterLeavesTheLine(t *testing.T) {
	for _, gone := range []int{0, 1, 2, 3} {
		t.Run("place "+strconv.Itoa(gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q keyqueue.Queue[string]
				first, err := q.Wait(t.Context(), "a")
				require.NoError(t, err)

				var order []int
				var left error
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				for i := range 4 {
					go func() {
						own := t.Context()
						if i == gone {
							own = ctx
						}
						turn, err := q.Wait(own, "a")
						if err != nil {
							left = err
							return
						}
						order = append(order, i)
						turn.Done()
					}()
					synctest.Wait()
				}
				start := time.Now()
				<-ctx.Done()
				synctest.Wait()
				require.Equal(t, time.Minute, time.Since(start))
				require.ErrorIs(t, left, context.DeadlineExceeded)
				require.Equal(t, 3, q.Waiting("a"))

				first.Done()
				synctest.Wait()
				want := []int{0, 1, 2, 3}
				require.Equal(t, append(want[:gone:gone], want[gone+1:]...), order)
			})
		})
	}
}

// The turn is handed over and the context ends at the same moment: the turn must reach the next in line, and a caller
// whose context has ended must not get it.
func TestTurnAndCancelAtOnce(t *testing.T) {
	for range 200 { // select picks at random among what is ready
		var q keyqueue.Queue[string]
		first, err := q.Wait(t.Context(), "a")
		require.NoError(t, err)

		ended := make(chan struct{})
		close(ended)
		third := make(chan *keyqueue.Turn[string], 1)
		_, err = q.Wait(&scripted{Context: t.Context(), onWait: func() <-chan struct{} {
			go func() {
				turn, err := q.Wait(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				third <- turn
			}()
			require.Eventually(t, func() bool { return q.Waiting("a") == 2 }, time.Minute, time.Microsecond)
			first.Done()
			return ended
		}}, "a")
		require.ErrorIs(t, err, context.Canceled)
		(<-third).Done()
		require.Zero(t, keyqueue.Len(&q))
	}
}

func TestWaitOr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q keyqueue.Queue[string]
		first, err := q.Wait(t.Context(), "a")
		require.NoError(t, err)
		stop := make(chan struct{})
		var left error
		go func() { _, left = q.WaitOr(t.Context(), stop, "a") }()
		synctest.Wait()
		require.Equal(t, 1, q.Waiting("a"))
		close(stop)
		synctest.Wait()
		require.ErrorIs(t, left, keyqueue.ErrStopped)
		require.Zero(t, q.Waiting("a"))
		first.Done()
		require.Zero(t, keyqueue.Len(&q))
	})
}

// scripted is a context that ends when somebody has begun to wait for it.
type scripted struct {
	context.Context
	onWait func() <-chan struct{}
	ended  bool
}

func (c *scripted) Done() <-chan struct{} {
	c.ended = true
	return c.onWait()
}

func (c *scripted) Err() error {
	if c.ended {
		return context.Canceled
	}
	return nil
}

// Many goroutines, many of which give up: never two holders, never a lost turn, nothing left behind.
func TestHammer(t *testing.T) {
	var q keyqueue.Queue[int]
	const keys = 3
	var holders [keys]atomic.Int32
	var granted, gaveUp atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 2000 {
				key := rand.IntN(keys)
				ctx, cancel := context.WithCancel(context.Background())
				switch i % 4 {
				case 0:
					go cancel()
				case 1:
					time.AfterFunc(time.Duration(rand.IntN(50))*time.Microsecond, cancel)
				}
				turn, err := q.Wait(ctx, key)
				if err != nil {
					gaveUp.Add(1)
					if !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
					cancel()
					continue
				}
				if n := holders[key].Add(1); n != 1 {
					t.Errorf("%d holders at once", n)
				}
				runtime.Gosched()
				holders[key].Add(-1)
				turn.Done()
				granted.Add(1)
				cancel()
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(16*2000), granted.Load()+gaveUp.Load())
	require.NotZero(t, granted.Load())
	for key := range keys {
		require.Zero(t, q.Waiting(key))
		turn, ok := q.Try(key)
		require.True(t, ok, "a turn was lost")
		turn.Done()
	}
	require.Zero(t, keyqueue.Len(&q))
}

func TestIdleKeysCostNothing(t *testing.T) {
	var q keyqueue.Queue[string]
	const n = 100_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	turns := make([]*keyqueue.Turn[string], n)
	for i := range turns {
		turn, err := q.Wait(t.Context(), "key "+strconv.Itoa(i))
		require.NoError(t, err)
		turns[i] = turn
	}
	busy := heap()
	kept := turns[0] // one key stays in use: the map never becomes empty
	for _, turn := range turns[1:] {
		turn.Done()
	}
	turns = nil
	idle := heap()
	require.Equal(t, 1, keyqueue.Len(&q))
	require.Greater(t, busy, before+n*50)
	require.Less(t, idle, before+(busy-before)/20, "before %d, busy %d", before, busy)
	kept.Done()
	require.Zero(t, keyqueue.Len(&q))
}

// A turn costs about as much as a mutex and a map; the peer is a bare mutex.
func BenchmarkUncontended(b *testing.B) {
	b.Run("keyqueue", func(b *testing.B) {
		var q keyqueue.Queue[string]
		ctx := b.Context()
		b.ReportAllocs()
		for b.Loop() {
			turn, err := q.Wait(ctx, "item:42")
			if err != nil {
				b.Fatal(err)
			}
			turn.Done()
		}
	})
	b.Run("mutex", func(b *testing.B) {
		var mu sync.Mutex
		b.ReportAllocs()
		for b.Loop() {
			mu.Lock()
			//lint:ignore SA2001 the peer's cost is wanted
			mu.Unlock()
		}
	})
}

func BenchmarkContended(b *testing.B) {
	var q keyqueue.Queue[string]
	b.ReportAllocs()
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			turn, err := q.Wait(ctx, "item:42")
			if err != nil {
				b.Error(err)
				return
			}
			turn.Done()
		}
	})
}
