package perdb_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/perdb"
)

func values(l *perdb.List) (all []any) {
	for _, v := range l.All() {
		all = append(all, *v)
	}
	return all
}

func TestList(t *testing.T) {
	var l perdb.List
	require.Empty(t, l.All())
	a, b, again := l.Add("a"), l.Add("b"), l.Add("a")
	require.Equal(t, []any{"a", "b", "a"}, values(&l))
	before := l.All()
	a()
	require.Equal(t, []any{"b", "a"}, values(&l), "the first of two equal ones")
	require.Equal(t, "a", *before[0], "who has begun to read reads on")
	require.Len(t, before, 3)
	a()
	require.Equal(t, []any{"b", "a"}, values(&l), "removed once")
	again()
	b()
	require.Nil(t, l.All())
	l.Add("c")
	require.Equal(t, []any{"c"}, values(&l))
}

func TestListForgetsWhatIsRemoved(t *testing.T) {
	var l perdb.List
	var gone atomic.Bool
	l.Add("stays")
	func() {
		v := new([64]int)
		runtime.AddCleanup(v, func(int) { gone.Store(true) }, 0)
		l.Add(v)()
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Load()
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, []any{"stays"}, values(&l))
}

func TestListConcurrently(t *testing.T) {
	var l perdb.List
	l.Add(-1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				remove := l.Add(i)
				for n, v := range values(&l) {
					if n == 0 && v != -1 {
						t.Error("the first one is missing")
					}
				}
				remove()
			}
		})
	}
	wg.Wait()
	require.Equal(t, []any{-1}, values(&l))
}
