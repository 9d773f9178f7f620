package pessimistic_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

var asPostgres = pessimistic.WithDialect(nogap.Postgres)

// Callers of one row get it in the order in which they came, and only the one whose turn it is has a connection. Other
// rows are none of their business.
func TestArrivalOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		release := make(chan bool)
		var order []int
		for i := range 10 {
			go func() {
				err := pessimistic.WithRowLock(t.Context(), db, itemOne, func(context.Context, *sqlx.Tx, *item) error {
					<-release
					order = append(order, i)
					return nil
				}, asPostgres)
				require.NoError(t, err)
			}()
			synctest.Wait()
		}
		require.Equal(t, 1, db.Stats().InUse)
		other := itemOne
		other.Key = 2
		require.NoError(t, pessimistic.WithRowLock(t.Context(), db, other, nothing, asPostgres))
		close(release)
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
	})
}

// A call that was let in while the COMMIT before it was under way, and has to begin again, waits for that COMMIT no longer than its
// Timeout says.
func TestTimeoutBehindACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, commits, selects := make(chan bool), 0, 0
		s := server(func(c fakedb.Call) error {
			switch {
			case c.Kind == fakedb.Commit:
				if commits++; commits == 1 {
					<-hang
				}
			case strings.Contains(c.Query, "FOR UPDATE"):
				if selects++; selects == 2 {
					return stateError("40P01")
				}
			}
			return nil
		})
		db := s.DB()
		defer db.Close()
		queued := make(chan bool)
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			first <- pessimistic.WithRowLock(t.Context(), db, itemOne, func(context.Context, *sqlx.Tx, *item) error {
				<-queued
				return nil
			}, asPostgres)
		}()
		synctest.Wait()
		go func() {
			second <- pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, asPostgres, pessimistic.Timeout(time.Minute))
		}()
		synctest.Wait()
		close(queued)
		began := time.Now()
		require.ErrorIs(t, <-second, pessimistic.ErrLockTimeout)
		require.Less(t, time.Since(began), 2*time.Minute)
		close(hang)
		require.NoError(t, <-first)
	})
}

// Keys that the database holds to be equal share a line, whatever their type in the program.
func TestSameRow(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	type id int32
	three := 3
	for _, key := range []any{3, int64(3), uint8(3), id(3), &three, []any{3}} {
		err := pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: 3},
			func(context.Context, *sqlx.Tx, *item) error {
				err := pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: key}, nothing,
					asPostgres, pessimistic.NoWait())
				require.ErrorIs(t, err, pessimistic.ErrLocked)
				return nil
			}, asPostgres)
		require.NoError(t, err)
	}
	for _, key := range []any{"3", 3.5, 4, []byte("3"), true, time.Unix(3, 0), [2]byte{3}, uint64(1<<63 + 3)} {
		err := pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: 3},
			func(context.Context, *sqlx.Tx, *item) error {
				return pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: key}, nothing,
					asPostgres, pessimistic.NoWait())
			}, asPostgres)
		require.NotErrorIs(t, err, pessimistic.ErrLocked, "%T %v", key, key)
	}
}

// A callback that changes what its key points to, and is run again, gets the row that it was locked for.
func TestKeyBehindAPointer(t *testing.T) {
	var asked []any
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Query && strings.Contains(c.Query, "items") {
			asked = append(asked, c.Arg(0))
		}
		if c.Kind == fakedb.Commit && len(asked) == 1 {
			return stateError("40001")
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	id := 1
	for _, key := range []any{&id, []any{&id}} {
		asked, id = nil, 1
		err := pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: key},
			func(context.Context, *sqlx.Tx, *item) error {
				id = 2
				return nil
			}, asPostgres)
		require.NoError(t, err)
		require.Equal(t, []any{int64(1), int64(1)}, asked)
	}
}

// Time in the line counts for Timeout, and what is left of it is all that the server is given.
func TestTimeoutCountsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limit any
		s := fakedb.New(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			switch {
			case len(c.Args) == 1 && c.Query != "" && c.Query[len(c.Query)-4:] == "rue)":
				if limit == nil {
					limit = c.Arg(0)
				}
				return fakedb.Row("0", "0"), nil
			case c.Kind == fakedb.Query:
				return items(1), nil
			}
			return fakedb.Reply{}, nil
		})
		db := s.DB()
		defer db.Close()
		holdFor := func(d time.Duration) {
			go pessimistic.WithRowLock(t.Context(), db, itemOne, func(context.Context, *sqlx.Tx, *item) error {
				time.Sleep(d)
				return nil
			}, asPostgres)
			synctest.Wait()
		}
		holdFor(3 * time.Second)
		require.NoError(t, pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, asPostgres, pessimistic.Timeout(5*time.Second)))
		require.Equal(t, "2000", limit)

		holdFor(3 * time.Second)
		start := time.Now()
		err := pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, asPostgres, pessimistic.Timeout(time.Second))
		require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
		require.ErrorContains(t, err, "items at [1]")
		require.Equal(t, time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = pessimistic.WithRowLock(ctx, db, itemOne, nothing, asPostgres, pessimistic.Timeout(time.Hour))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "items at [1]")
		require.NotErrorIs(t, err, pessimistic.ErrLockTimeout)
		time.Sleep(time.Minute) // the holder ends
	})
}

// The same row again inside its callback is refused, however deep. What the callback's context outlives is free.
func TestNesting(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	other := server(nil).DB()
	defer other.Close()
	two := pessimistic.Row{Table: "items", Key: 2}
	var kept context.Context
	err := pessimistic.WithRowLock(t.Context(), db, itemOne, func(ctx context.Context, tx *sqlx.Tx, _ *item) error {
		kept = ctx
		require.NoError(t, pessimistic.WithRowLock(ctx, other, itemOne, nothing, asPostgres), "another database")
		_, err := pessimistic.LockRow[item](ctx, tx, itemOne)
		require.NoError(t, err)
		return pessimistic.WithRowLock(ctx, db, two, func(ctx context.Context, _ *sqlx.Tx, _ *item) error {
			both := pessimistic.Rows{Table: "items", Keys: []any{3, 1}}
			err := pessimistic.WithRowLocks(ctx, db, both, func(context.Context, *sqlx.Tx, []*item) error { return nil }, asPostgres)
			require.ErrorContains(t, err, "wait for itself")
			share := pessimistic.ForShare()
			require.ErrorContains(t, pessimistic.WithRowLock(ctx, db, two, nothing, asPostgres, share), "wait for itself")
			return nil
		}, asPostgres)
	}, asPostgres)
	require.NoError(t, err)
	require.NoError(t, pessimistic.WithRowLock(kept, db, itemOne, nothing, asPostgres))
}

// Only LockRow in a transaction of the caller's own asks the server what it is.
func TestLockRowKnowsTheServer(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	err := pessimistic.WithRowLock(t.Context(), db, itemOne, func(ctx context.Context, tx *sqlx.Tx, _ *item) error {
		require.Equal(t, "postgres", tx.DriverName())
		_, err := pessimistic.LockRow[item](ctx, tx, pessimistic.Row{Table: "items", Key: 2})
		return err
	}, asPostgres)
	require.NoError(t, err)
	require.NotContains(t, s.Log(), "SELECT version()")
}
