//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/pessimistic"
)

type Job struct {
	ID       int64  `db:"id"`
	Priority int64  `db:"priority"`
	DoneBy   *int64 `db:"done_by"`
}

func createJobs(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	exec(t, db, "CREATE TABLE jobs (id int PRIMARY KEY, priority int NOT NULL, done_by int)")
	exec(t, db, "CREATE TABLE done (job int NOT NULL)") // without a key: a job that is done twice shows
	for first := 0; first < n; first += 500 {
		var values []string
		for id := first; id < min(first+500, n); id++ {
			values = append(values, fmt.Sprintf("(%d, %d, NULL)", id, id%7))
		}
		exec(t, db, "INSERT INTO jobs VALUES "+strings.Join(values, ", "))
	}
}

func todo(limit int) pessimistic.Queue {
	return pessimistic.Queue{Table: "jobs", Where: "done_by IS NULL", OrderBy: "id", Limit: limit}
}

// finish is a callback that does its jobs.
func finish(worker int) func(context.Context, *sqlx.Tx, []*Job) error {
	return func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
		for _, job := range jobs {
			if _, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO done VALUES (?)"), job.ID); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, tx.Rebind("UPDATE jobs SET done_by = ? WHERE id = ?"), worker, job.ID); err != nil {
				return err
			}
		}
		return nil
	}
}

// Eight workers of two processes drain the queue, and each job is done exactly once.
func TestClaimDrains(t *testing.T) {
	matrix.Parallel(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		n := 1000
		if target.Name == "postgres/pgx" || target.Name == "mariadb/changed-rows" || target.Name == "sqlite/modernc" {
			n = 10_000
		}
		createJobs(t, pools[0], n)
		ctx := concurrent.Within(t, 5*time.Minute)
		concurrent.Run(t, 8, func(worker int) error {
			for {
				switch err := pessimistic.Claim(ctx, pools[worker%2], todo(50), finish(worker)); {
				case errors.Is(err, sql.ErrNoRows):
					return nil // a worker that claims the last jobs finishes them: nothing fails here
				case err != nil:
					return err
				}
			}
		})
		var done, distinct, open int
		require.NoError(t, pools[0].QueryRow("SELECT count(*), count(DISTINCT job) FROM done").Scan(&done, &distinct))
		require.Equal(t, n, done)
		require.Equal(t, n, distinct)
		require.NoError(t, pools[0].QueryRow("SELECT count(*) FROM jobs WHERE done_by IS NULL").Scan(&open))
		require.Zero(t, open)
	})
}

// While one worker is at work, another one gets the next jobs in the order asked for, and new jobs can be added: nobody
// waits for anybody.
func TestClaimDoesNotWait(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createJobs(t, db, 40)
		// MySQL and MariaDB lock every row that they read in order to sort, unless an index has them in order.
		exec(t, db, "CREATE INDEX jobs_priority ON jobs (priority, id)")
		ctx := concurrent.Within(t, time.Minute)
		queue := pessimistic.Queue{Table: "jobs", Where: "done_by IS NULL AND priority < " + first(target), Args: []any{6},
			OrderBy: "priority DESC, id DESC", Limit: 3}
		var got []int64
		claim := func(ctx context.Context, then func() error) error {
			return pessimistic.Claim(ctx, db, queue, func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
				for _, job := range jobs {
					got = append(got, job.ID)
				}
				if err := then(); err != nil {
					return err
				}
				return finish(1)(ctx, tx, jobs)
			})
		}
		if isSQLite(target) {
			require.NoError(t, claim(ctx, func() error { return nil }))
			require.NoError(t, claim(ctx, func() error { return nil }))
		} else {
			require.NoError(t, claim(ctx, func() error {
				_, err := db.ExecContext(ctx, "INSERT INTO jobs VALUES (100, 0, NULL)")
				require.NoError(t, err)
				return claim(ctx, func() error { return nil })
			}))
		}
		require.Equal(t, []int64{33, 26, 19, 12, 5, 39}, got)
	})
}

// first is the first placeholder of a statement.
func first(target matrix.Target) string {
	if target.Dialect == nogap.Postgres {
		return "$1"
	}
	return "?"
}

// A worker that fails, panics or loses its connection in the callback gives its jobs back.
func TestClaimGivesBack(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createJobs(t, db, 10)
		ctx := concurrent.Within(t, time.Minute)
		fail := map[string]func(tx *sqlx.Tx) error{
			"error": func(*sqlx.Tx) error { return errDone },
			"panic": func(*sqlx.Tx) error { panic("no") },
		}
		if !isSQLite(target) {
			fail["killed"] = func(tx *sqlx.Tx) error { kill(t, target, db, tx); return nil }
		}
		for name, end := range fail {
			func() {
				defer func() { require.Equal(t, name == "panic", recover() != nil) }()
				err := pessimistic.Claim(ctx, db, todo(5), func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
					require.Len(t, jobs, 5)
					require.NoError(t, finish(1)(ctx, tx, jobs))
					return end(tx)
				})
				require.Error(t, err)
			}()
		}
		// A killed session rolls back in its own time.
		errFew := errors.New("some are still claimed")
		require.Eventually(t, func() bool {
			err := pessimistic.Claim(ctx, db, todo(100), func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
				if len(jobs) < 10 {
					return errFew
				}
				return finish(1)(ctx, tx, jobs)
			})
			if !errors.Is(err, errFew) {
				require.NoError(t, err)
			}
			return err == nil
		}, 30*time.Second, time.Millisecond)
		err := pessimistic.Claim(ctx, db, todo(1), func(context.Context, *sqlx.Tx, []*Job) error {
			t.Error("called without a job")
			return nil
		})
		require.ErrorIs(t, err, sql.ErrNoRows)
	})
}

// A comment at the end of the programmer's SQL must not swallow the limit and the lock.
func TestClaimWithComments(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createJobs(t, db, 3)
		queue := todo(1)
		queue.Where += " -- still to do"
		queue.OrderBy = "id -- oldest first"
		require.NoError(t, pessimistic.Claim(concurrent.Within(t, time.Minute), db, queue, func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
			require.Len(t, jobs, 1)
			return nil
		}))
	})
}

// kill ends the session of a transaction, as an administrator would.
func kill(t *testing.T, target matrix.Target, db *sql.DB, tx *sqlx.Tx) {
	t.Helper()
	var id string
	require.NoError(t, tx.QueryRow(connectionID(target)).Scan(&id))
	killID(t, target, db, id)
}

func killID(t *testing.T, target matrix.Target, db *sql.DB, id string) {
	t.Helper()
	if target.Dialect == nogap.Postgres {
		exec(t, db, "SELECT pg_terminate_backend("+id+")")
		return
	}
	exec(t, db, "KILL "+id)
}

// A call on the pool for a claimed row would wait for the transaction in whose callback it is made.
func TestClaimedRowIsHeld(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createJobs(t, db, 3)
		priority, err := atomic.NewCounter[int64](db, "jobs", "priority")
		require.NoError(t, err)
		ctx := concurrent.Within(t, time.Minute)
		nothing := func(context.Context, *sqlx.Tx, *Job) error { return nil }
		err = pessimistic.Claim(ctx, db, todo(2), func(ctx context.Context, tx *sqlx.Tx, jobs []*Job) error {
			require.Len(t, jobs, 2)
			for _, key := range []any{jobs[0].ID, int8(1), "1", "01"} {
				_, err := priority.Increment(ctx, 1, key)
				require.ErrorIs(t, err, holding.ErrHeld, "%#v", key)
				err = pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "jobs", Key: key}, nothing)
				require.ErrorIs(t, err, holding.ErrHeld, "%#v", key)
			}
			if target.Dialect != nogap.SQLite { // where every write in a callback is refused
				_, err := priority.Increment(ctx, 1, 2)
				require.NoError(t, err, "another row")
			}
			_, err := priority.WithTx(tx).Increment(ctx, 1, jobs[1].ID)
			return err
		})
		require.NoError(t, err)
		now, err := priority.Get(ctx, 1)
		require.NoError(t, err)
		require.EqualValues(t, 2, now)
	})
}
