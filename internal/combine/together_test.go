package combine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/combine"
)

// sums adds calls up for each row, in all ways. What comes first for the first rows is held up.
type sums struct {
	mu       sync.Mutex
	total    map[string]int
	apart    int   // calls carried out by Alone and Batch
	together []int // rows of each step
	// before is called with 0 before Alone and Batch, and with the number of rows before Together; it may be nil.
	before func(ctx context.Context, rows int)
	// leaves says of a row what Together does with it: how many of its calls it carries out.
	leaves func(key string, calls int) (done int)
	fails  bool // Together is of no use
}

func (s *sums) add(key []any, calls []*addend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range calls {
		c.before = s.total[key[0].(string)]
		s.total[key[0].(string)] += c.n
	}
}

func (s *sums) Alone(ctx context.Context, key []any, call *addend, _ *int) {
	s.Batch(ctx, key, []*addend{call}, nil)
}

func (s *sums) Batch(ctx context.Context, key []any, calls []*addend, _ *int) int {
	if s.before != nil {
		s.before(ctx, 0)
	}
	s.add(key, calls)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart += len(calls)
	return len(calls)
}

func (s *sums) Detach(key []any) ([]any, bool) {
	if key[0] == errNasty {
		panic(errNasty)
	}
	return []any{key[0]}, key[0] != "odd"
}

var errNasty = errors.New("a Value method that panics")

func (s *sums) Together(ctx context.Context, rows []*combine.Row[addend, int]) bool {
	if s.before != nil {
		s.before(ctx, len(rows))
	}
	s.mu.Lock()
	s.together = append(s.together, len(rows))
	s.mu.Unlock()
	if s.fails {
		return false
	}
	for _, r := range rows {
		r.Done = len(r.Calls)
		if s.leaves != nil {
			r.Done = s.leaves(r.Key[0].(string), len(r.Calls))
		}
		s.add(r.Key, r.Calls[:r.Done])
	}
	return true
}

// rowsOf makes a call for each of n rows, and for some of them several, and returns what came of them when all wait.
func callRows(t *testing.T, g *combine.Group[addend, int], n, each int) []error {
	t.Helper()
	errs := make([]error, n*each)
	for i := range errs {
		go func() {
			name := fmt.Sprint("row ", i%n)
			_, errs[i] = g.Do(t.Context(), []byte(name), []any{name}, addend{n: 1})
		}()
		synctest.Wait()
	}
	return errs
}

func newSums(hold <-chan struct{}) *sums {
	return &sums{total: map[string]int{}, before: func(context.Context, int) { <-hold }}
}

// A few rows have statements of their own, however many callers there are.
func TestFewRowsGoApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := newSums(hold)
		errs := callRows(t, combine.New(s, bounds()), 30, 5)
		close(hold)
		synctest.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Empty(t, s.together)
		require.Equal(t, 150, s.apart)
	})
}

// A panic while the key is taken goes up in its own caller, and leaves the row free.
func TestPanicInDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := newSums(hold)
		g := combine.New(s, bounds())
		callRows(t, g, 40, 1)
		require.PanicsWithValue(t, errNasty, func() { g.Do(t.Context(), []byte("another"), []any{errNasty}, addend{n: 1}) })
		close(hold)
		_, err := g.Do(t.Context(), []byte("another"), []any{"another"}, addend{n: 1})
		require.NoError(t, err)
		synctest.Wait() // the other rows' calls write too
		require.Equal(t, 1, s.total["another"])
	})
}

// When many rows are under way, those that come later are carried out together, each with all who have come for it meanwhile.
func TestManyRowsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := newSums(hold)
		g := combine.New(s, bounds())
		errs := callRows(t, g, 500, 3)
		close(hold)
		synctest.Wait()
		require.NoError(t, errors.Join(errs...))
		for i := range 500 {
			require.Equal(t, 3, s.total[fmt.Sprint("row ", i)])
		}
		require.Equal(t, []int{1, 200, 200}, s.together[:3])
		require.Less(t, s.apart, 150)
		rows, waiting := g.Size()
		require.Zero(t, rows+waiting)
		require.NoError(t, g.Close())
	})
}

// What Together leaves out, in part or as a whole, is carried out apart, and nothing twice.
func TestRowsThatAreLeftOut(t *testing.T) {
	for name, s := range map[string]*sums{
		"some":  {leaves: func(key string, calls int) int { return len(key) % 2 * calls }},
		"parts": {leaves: func(_ string, calls int) int { return min(calls, 2) }},
		"all":   {leaves: func(string, int) int { return 0 }},
		"fails": {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				s.total, s.before = map[string]int{}, newSums(hold).before
				g := combine.New(s, bounds())
				errs := callRows(t, g, 300, 4)
				close(hold)
				synctest.Wait()
				require.NoError(t, errors.Join(errs...))
				require.NotEmpty(t, s.together)
				for i := range 300 {
					require.Equal(t, 4, s.total[fmt.Sprint("row ", i)])
				}
				require.NoError(t, g.Close())
			})
		})
	}
}

// A step that does not come back is lost for all but who carries it out. The rows and those that wait go on.
func TestLostTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, hang := make(chan struct{}), make(chan struct{})
		s := &sums{total: map[string]int{}}
		first := true
		s.before = func(_ context.Context, rows int) {
			<-hold
			if rows > 1 && first {
				first = false
				<-hang
			}
		}
		g := combine.New(s, bounds())
		errs := callRows(t, g, 100, 1)
		close(hold)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		unknown := 0
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
				unknown++
			}
		}
		require.NotZero(t, unknown)
		_, err := g.Do(t.Context(), []byte("row 99"), []any{"row 99"}, addend{n: 1})
		require.NoError(t, err)
		require.Error(t, g.Close())
		close(hang)
		synctest.Wait()
		require.NoError(t, g.Close())
	})
}

func TestPanicTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := newSums(hold)
		first := true
		s.before = func(_ context.Context, rows int) {
			<-hold
			if rows > 1 && first {
				first = false
				panic("together")
			}
		}
		g := combine.New(s, bounds())
		errs, panics := make([]error, 100), 0
		for i := range errs {
			go func() {
				defer func() {
					if recover() != nil {
						panics++
					}
				}()
				name := fmt.Sprint("row ", i)
				_, errs[i] = g.Do(t.Context(), []byte(name), []any{name}, addend{n: 1})
			}()
			synctest.Wait()
		}
		close(hold)
		synctest.Wait()
		require.Equal(t, 1, panics)
		unknown := 0
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
				unknown++
			}
		}
		require.NotZero(t, unknown)
		require.NoError(t, g.Close())
	})
}

// Who gives up while it waits has done nothing, and who waits too long goes apart.
func TestWaitingForTheCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := newSums(hold)
		b := bounds()
		b.Timeout = time.Second
		g := combine.New(s, b)
		callRows(t, g, 40, 1)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make([]error, 2)
		for i, ctx := range []context.Context{ctx, t.Context()} {
			go func() {
				name := fmt.Sprint("late ", i)
				_, errs[i] = g.Do(ctx, []byte(name), []any{name}, addend{n: 1})
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		require.ErrorIs(t, errs[0], context.Canceled)
		time.Sleep(time.Second)
		synctest.Wait()
		close(hold)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.NoError(t, errs[1])
		require.Zero(t, s.total["late 0"])
		require.Equal(t, 1, s.total["late 1"])
	})
}

// Close comes at any moment while rows are carried out together.
func TestHammerOfRows(t *testing.T) {
	for range 50 {
		s := &sums{total: map[string]int{}, leaves: func(string, int) int { return rand.IntN(2) }}
		g := combine.New(s, bounds())
		var wg sync.WaitGroup
		var mu sync.Mutex
		done := map[string]int{}
		for i := range 200 {
			wg.Go(func() {
				name := fmt.Sprint("row ", i%80)
				if i == 0 {
					name = "odd"
				}
				for j := range 10 {
					ctx, cancel := context.WithCancel(context.Background())
					if j%4 == 0 {
						go cancel()
					}
					_, err := g.Do(ctx, []byte(name), []any{name}, addend{n: 1})
					cancel()
					switch {
					case err == nil:
						mu.Lock()
						done[name]++
						mu.Unlock()
					case !errors.Is(err, combine.ErrClosed) && !errors.Is(err, context.Canceled):
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		require.Equal(t, done, s.total)
		rows, waiting := g.Size()
		require.Zero(t, rows+waiting)
	}
}
