package combine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/combine"
)

// sum adds calls up in known: a call is told what was known before it.
type sum struct {
	before func(ctx context.Context, calls int) // may be nil
	chunk  int                                  // how many calls of a batch are done at once; 0 is all
}

type addend struct{ n, before int }

func (s *sum) Alone(ctx context.Context, _ []any, call *addend, known *int) {
	s.add(ctx, []*addend{call}, known)
}

func (s *sum) Batch(ctx context.Context, _ []any, calls []*addend, known *int) int {
	if s.chunk > 0 && len(calls) > s.chunk {
		calls = calls[:s.chunk]
	}
	s.add(ctx, calls, known)
	return len(calls)
}

func (s *sum) add(ctx context.Context, calls []*addend, known *int) {
	if s.before != nil {
		s.before(ctx, len(calls))
	}
	for _, c := range calls {
		c.before = *known
		*known += c.n
	}
}

func bounds() combine.Bounds {
	return combine.Bounds{MaxBatch: 1000, MaxWaiting: 1000, Timeout: time.Minute}
}

func do(ctx context.Context, g *combine.Group[addend, int], n int) (int, error) {
	call, err := g.Do(ctx, []byte("row"), nil, addend{n: n})
	if err != nil {
		return 0, err
	}
	return call.before, nil
}

// What is known goes from one to the next as long as the row is wanted, through batches and their parts.
func TestKnownIsPassedOn(t *testing.T) {
	for name, test := range map[string]struct {
		maxBatch, chunk int
		sizes           []int
	}{
		"one batch": {1000, 0, []int{1, 9}},
		"batches":   {4, 0, []int{1, 4, 4, 1}},
		"parts":     {1000, 4, []int{1, 4, 4, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				var sizes []int
				b := bounds()
				b.MaxBatch = test.maxBatch
				g := combine.New(&sum{chunk: test.chunk, before: func(_ context.Context, calls int) {
					<-hold
					sizes = append(sizes, calls)
				}}, b)
				got := make([]int, 10)
				for i := range got {
					go func() {
						var err error
						got[i], err = do(t.Context(), g, 1)
						require.NoError(t, err)
					}()
					synctest.Wait()
				}
				rows, waiting := g.Size()
				require.Equal(t, []int{1, 9}, []int{rows, waiting})
				close(hold)
				synctest.Wait()
				require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, got)
				require.Equal(t, test.sizes, sizes)
				before, err := do(t.Context(), g, 1)
				require.NoError(t, err)
				require.Zero(t, before, "the row was forgotten")
			})
		})
	}
}

// Whoever hangs keeps what is known to itself.
func TestAbandonedBatchLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, hang := make(chan struct{}), make(chan struct{})
		turns := 0
		g := combine.New(&sum{before: func(context.Context, int) {
			turns++
			switch turns {
			case 1:
				<-hold
			case 2:
				<-hang
			}
		}}, bounds())
		before, errs := make([]int, 4), make([]error, 4)
		call := func(i int) {
			go func() { before[i], errs[i] = do(t.Context(), g, 1) }()
			synctest.Wait()
		}
		for i := range 3 {
			call(i)
		}
		close(hold)
		synctest.Wait()
		call(3)
		start := time.Now()
		time.Sleep(time.Minute + time.Second - 1)
		_, waiting := g.Size()
		require.Equal(t, 1, waiting)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		require.ErrorIs(t, errs[2], nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, errs[2], context.DeadlineExceeded)
		require.NoError(t, errs[3])
		require.Zero(t, before[3], "the next one knows nothing")
		require.Error(t, g.Close())
		close(hang)
		synctest.Wait()
		require.NoError(t, errs[1], "the one in whose goroutine it hung")
		require.NoError(t, g.Close())
	})
}

func TestPanicOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		turns := 0
		g := combine.New(&sum{chunk: 2, before: func(context.Context, int) {
			<-hold
			if turns++; turns == 3 {
				panic("the second part of the batch")
			}
		}}, bounds())
		errs, panics := make([]error, 6), make([]any, 6)
		for i := range errs {
			go func() {
				defer func() { panics[i] = recover() }()
				_, errs[i] = do(t.Context(), g, 1)
			}()
			synctest.Wait()
		}
		close(hold)
		synctest.Wait()
		require.Equal(t, []any{nil, "the second part of the batch", nil, nil, nil, nil}, panics)
		require.NoError(t, errors.Join(errs[:3]...), "they had their answers")
		for _, err := range errs[3:] {
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
		require.NoError(t, g.Close(), "nothing is under way")
	})
}

// The row goes on at once, and the call is over.
func TestPanicOfACallerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		turns := 0
		g := combine.New(&sum{before: func(context.Context, int) {
			<-hold
			if turns++; turns == 1 {
				panic("alone")
			}
		}}, bounds())
		errs, panics := make([]error, 2), make([]any, 2)
		for i := range errs {
			go func() {
				defer func() { panics[i] = recover() }()
				_, errs[i] = do(t.Context(), g, 1)
			}()
			synctest.Wait()
		}
		start := time.Now()
		close(hold)
		synctest.Wait()
		require.Equal(t, []any{"alone", nil}, panics)
		require.NoError(t, errs[1])
		require.NoError(t, g.Close())
		require.Zero(t, time.Since(start))
	})
}

// A batch that comes back at the moment at which it is abandoned is one or the other.
func TestBackAtTheLastMoment(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			turns := 0
			g := combine.New(&sum{before: func(context.Context, int) {
				if turns++; turns == 1 {
					<-hold
				} else {
					time.Sleep(time.Minute + time.Second)
				}
			}}, bounds())
			errs := make([]error, 3)
			for i := range errs {
				go func() { _, errs[i] = do(t.Context(), g, 1) }()
				synctest.Wait()
			}
			close(hold)
			time.Sleep(time.Hour)
			synctest.Wait()
			require.NoError(t, errors.Join(errs[:2]...))
			if errs[2] != nil {
				require.ErrorIs(t, errs[2], nogap.ErrOutcomeUnknown)
			}
			require.NoError(t, g.Close())
		})
	}
}

func TestCloseOfAnIdleGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g := combine.New(&sum{}, bounds())
		require.NoError(t, g.Close())
		require.NoError(t, g.Close())
		require.ErrorIs(t, g.Apart(func() { t.Error("made after Close") }), combine.ErrClosed)
		require.Zero(t, time.Since(start))
	})
}

// Close comes at any moment: a call was carried out or refused, and after Close none is.
func TestHammerOfClose(t *testing.T) {
	for range 300 {
		var carried atomic.Int64
		var closed atomic.Bool
		g := combine.New(&sum{before: func(_ context.Context, calls int) {
			if closed.Load() {
				t.Error("carried out after Close")
			}
			carried.Add(int64(calls))
		}}, bounds())
		var done, refused, gaveUp atomic.Int64
		var wg sync.WaitGroup
		const callers, rounds = 8, 20
		for range callers {
			wg.Go(func() {
				for i := range rounds {
					ctx, cancel := context.WithCancel(context.Background())
					if i%4 == 0 {
						go cancel()
					}
					switch _, err := do(ctx, g, 1); {
					case err == nil:
						done.Add(1)
					case errors.Is(err, combine.ErrClosed):
						refused.Add(1)
					case errors.Is(err, context.Canceled):
						gaveUp.Add(1)
					default:
						t.Error(err)
					}
					cancel()
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
				if err := g.Close(); err != nil {
					t.Error(err)
				}
				closed.Store(true)
			})
		}
		wg.Wait()
		require.Equal(t, carried.Load(), done.Load())
		require.EqualValues(t, callers*rounds, done.Load()+refused.Load()+gaveUp.Load())
		rows, waiting := g.Size()
		require.Zero(t, rows+waiting)
	}
}
