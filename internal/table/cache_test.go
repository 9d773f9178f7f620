package table_test

import (
	"database/sql"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/table"
)

type sqlOf struct{ text string }

func binder(db *sql.DB, name string) func() (*table.Table, *sqlOf, error) {
	return func() (*table.Table, *sqlOf, error) {
		t, err := table.Bind(db, name, table.Options{})
		return t, &sqlOf{name}, err
	}
}

func TestCache(t *testing.T) {
	db := fakedb.Open(nil)
	defer db.Close()
	var c table.Cache[string, sqlOf]
	a, of, err := c.Of("a", binder(db, "a"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, ofAgain, err := c.Of("a", binder(db, "other"))
			require.NoError(t, err)
			require.Same(t, a, again)
			require.Same(t, of, ofAgain)
			b, _, err := c.Of("b", binder(db, "b"))
			require.NoError(t, err)
			require.Equal(t, "b", b.Name.String())
			require.Nil(t, b.DB())
		})
	}
	wg.Wait()

	_, _, err = c.Of("c", binder(db, ""))
	require.Error(t, err)
	_, _, err = c.Of("c", binder(db, "c"))
	require.NoError(t, err, "an error is not kept")
}

// A program that makes names up does not fill the memory.
func TestCacheIsBounded(t *testing.T) {
	db := fakedb.Open(nil)
	defer db.Close()
	var c table.Cache[string, sqlOf]
	for i := range 10 * table.MaxCached {
		name := "t" + strconv.Itoa(i)
		bound, of, err := c.Of(name, binder(db, name))
		require.NoError(t, err)
		require.Equal(t, name, bound.Name.String())
		require.Equal(t, name, of.text)
		require.LessOrEqual(t, c.Len(), table.MaxCached)
	}
}

// What is kept for a *sql.DB does not keep it alive.
func TestCacheLetsItsDBGo(t *testing.T) {
	var caches perdb.Map[table.Cache[string, sqlOf]]
	var gone weak.Pointer[sql.DB]
	func() {
		db := fakedb.Open(nil)
		gone = weak.Make(db)
		_, _, err := caches.Of(db, nil).Of("a", binder(db, "a"))
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Value() == nil
	}, 10*time.Second, time.Millisecond)
}
