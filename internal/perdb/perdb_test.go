package perdb_test

import (
	"database/sql"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/perdb"
)

type thing struct{ n int }

func open() *sql.DB { return fakedb.Open(nil) }

func TestOneForEachDB(t *testing.T) {
	var m perdb.Map[thing]
	a, b := open(), open()
	first := m.Of(a, func() *thing { return &thing{1} })
	require.Equal(t, 1, first.n)
	require.Same(t, first, m.Of(a, func() *thing { return &thing{2} }))
	require.NotSame(t, first, m.Of(b, nil))
	require.Zero(t, *m.Of(b, nil))
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
}

func TestSameForAllGoroutines(t *testing.T) {
	var m perdb.Map[thing]
	db := open()
	got := make([]*thing, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = m.Of(db, nil) })
	}
	wg.Wait()
	for _, v := range got {
		require.Same(t, got[0], v)
	}
	require.Equal(t, 1, perdb.Len(&m))
	runtime.KeepAlive(db)
}

func TestForgetsADBThatIsGone(t *testing.T) {
	var m perdb.Map[thing]
	for range 10 {
		db := open()
		m.Of(db, nil)
		require.NoError(t, db.Close())
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		return perdb.Len(&m) == 0
	}, 10*time.Second, time.Millisecond)
}
