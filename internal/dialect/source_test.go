package dialect_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

func TestSourceAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
			time.Sleep(time.Second / 10)
			return fakedb.Row("8.0.36"), nil
		})
		db := server.DB()
		defer db.Close()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				src, err := dialect.NewSource(db, 0) // each its own, on one pool
				if err != nil {
					t.Error(err)
				}
				s, err := src.Server(t.Context(), txn.Pool{DB: db})
				if err != nil || s.Dialect != nogap.MySQL {
					t.Error(s, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, []string{"SELECT version()"}, server.Log())
	})
}

func TestSourceToldDoesNotAsk(t *testing.T) {
	server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Reply{}, errors.New("not to be asked")
	})
	db := server.DB()
	defer db.Close()
	src, err := dialect.NewSource(db, nogap.MariaDB)
	require.NoError(t, err)
	s, err := src.Server(t.Context(), txn.Pool{DB: db})
	require.NoError(t, err)
	require.Equal(t, nogap.MariaDB, s.Dialect)
	require.Empty(t, server.Calls())
}

func TestSourceForgetsAFailure(t *testing.T) {
	fail := true
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
		if fail {
			return fakedb.Reply{}, errDown
		}
		return fakedb.Row("PostgreSQL 15.1"), nil
	})
	defer db.Close()
	src, err := dialect.NewSource(db, 0)
	require.NoError(t, err)
	_, err = src.Server(t.Context(), txn.Pool{DB: db})
	require.ErrorIs(t, err, errDown)
	fail = false
	s, err := src.Server(t.Context(), txn.Pool{DB: db})
	require.NoError(t, err)
	require.Equal(t, "PostgreSQL 15.1", s.String())
}

var errDown = errors.New("the server is down")

// One caller's context ends only its own wait, whether it asks or waits for who does.
func TestSourceContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := fakedb.Open(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Kind != fakedb.Query {
				return fakedb.Reply{}, nil
			}
			select {
			case <-ctx.Done():
				return fakedb.Reply{}, ctx.Err()
			case <-time.After(time.Minute):
				return fakedb.Row("8.0.36"), nil
			}
		})
		defer db.Close()
		src, err := dialect.NewSource(db, 0)
		require.NoError(t, err)
		var wg sync.WaitGroup
		ask := func(limit time.Duration, want error) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				start := time.Now()
				_, err := src.Server(ctx, txn.Pool{DB: db})
				if !errors.Is(err, want) {
					t.Errorf("limit %v: %v", limit, err)
				}
				if want != nil && time.Since(start) != limit {
					t.Errorf("limit %v: took %v", limit, time.Since(start))
				}
			})
			synctest.Wait()
		}
		ask(10*time.Second, context.DeadlineExceeded) // asks
		ask(5*time.Second, context.DeadlineExceeded)  // waits for the first, and gives up before it
		ask(time.Hour, nil)                           // waits for the first, then asks itself
		wg.Wait()
		_, err = src.Server(t.Context(), txn.Pool{DB: db})
		require.NoError(t, err)
	})
}

func TestSourceContextHasEnded(t *testing.T) {
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row("8.0.36"), nil })
	defer db.Close()
	src, err := dialect.NewSource(db, 0)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = src.Server(ctx, txn.Pool{DB: db})
	require.ErrorIs(t, err, context.Canceled)
}

// The server is asked over what the caller holds: a pool whose only connection is in a transaction would wait for ever.
func TestSourceAsksOverTheCallersTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row("8.0.36"), nil })
		db := server.DB()
		defer db.Close()
		db.SetMaxOpenConns(1)
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		src, err := dialect.NewSource(db, 0)
		require.NoError(t, err)
		_, err = src.Server(t.Context(), txn.In(tx))
		require.NoError(t, err)
		require.Equal(t, []string{"BEGIN", "SELECT version()"}, server.Log())
	})
}

// What is remembered of a pool does not keep it.
func TestSourceDoesNotKeepThePool(t *testing.T) {
	var gone atomic.Int64
	const pools = 20
	for range pools {
		func() {
			db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row("8.0.36"), nil })
			src, err := dialect.NewSource(db, 0)
			require.NoError(t, err)
			_, err = src.Server(context.Background(), txn.Pool{DB: db})
			require.NoError(t, err)
			runtime.AddCleanup(db, func(int) { gone.Add(1) }, 0)
			require.NoError(t, db.Close())
		}()
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Load() == pools
	}, 10*time.Second, time.Millisecond)
}
