//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/txn"
)

// id returns what the server calls the connection.
func (w *world) id(t *testing.T, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (id int) {
	t.Helper()
	query := "SELECT connection_id()"
	if w.Dialect == nogap.Postgres {
		query = "SELECT pg_backend_pid()"
	}
	require.NoError(t, q.QueryRowContext(t.Context(), query).Scan(&id))
	return id
}

// kill ends a connection at the server, as its administrator would, and waits until it is gone.
func (w *world) kill(t *testing.T, id int) {
	t.Helper()
	kill, count := "KILL "+strconv.Itoa(id), "SELECT count(*) FROM information_schema.processlist WHERE id = "
	if w.Dialect == nogap.Postgres {
		kill = "SELECT pg_terminate_backend(" + strconv.Itoa(id) + ")"
		count = "SELECT count(*) FROM pg_stat_activity WHERE pid = "
	}
	w.exec(t, kill)
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, w.direct.QueryRowContext(t.Context(), count+strconv.Itoa(id)).Scan(&n))
		return n == 0
	}, 10*time.Second, time.Millisecond)
}

// idle puts n connections into a pool and returns their ids.
func (w *world) idle(t *testing.T, db *sql.DB, n int) (ids []int) {
	t.Helper()
	var conns []*sql.Conn
	for range n {
		c, err := db.Conn(t.Context())
		require.NoError(t, err)
		conns = append(conns, c)
		ids = append(ids, w.id(t, c))
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
	return ids
}

// The server has ended every idle connection of the pool, as it does in a restart or a failover.
func TestIdleConnectionsAreKilled(t *testing.T) {
	const idle = 6
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		stale := func(t *testing.T) (*world, *sql.DB) {
			w := newWorld(t, target)
			db := target.Connect(t, w.dsn)
			require.NoError(t, execAdder.run(t.Context(), w, db)) // the first call of a pool asks questions, and so finds out
			w.exec(t, "UPDATE items SET stock = 0")
			for _, id := range w.idle(t, db, idle) {
				w.kill(t, id)
			}
			return w, db
		}
		for _, a := range adders(target) {
			t.Run(a.name, func(t *testing.T) {
				w, db := stale(t)
				err := a.run(t.Context(), w, db)
				require.NoError(t, err)
				require.Equal(t, 1, w.applied(t))
			})
		}
		t.Run("read", func(t *testing.T) {
			_, db := stale(t)
			var stock int
			require.NoError(t, autocommit(t.Context(), db, func(c *txn.Conn) error {
				return c.Read(t.Context(), "SELECT stock FROM items WHERE id = 1", nil, &stock)
			}))
		})
	})
}

// The server ends the connection of a transaction under way.
func TestTransactionIsKilled(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		t.Run("before its statement", func(t *testing.T) {
			w := newWorld(t, target)
			db := target.Connect(t, w.dsn)
			err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
				w.kill(t, w.id(t, tx))
				_, err := tx.ExecContext(t.Context(), add)
				return err
			})
			require.Error(t, err)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			requireClean(t, db)
			require.Zero(t, w.applied(t))
		})
		t.Run("before COMMIT", func(t *testing.T) {
			w := newWorld(t, target)
			db := target.Connect(t, w.dsn)
			err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), add)
				require.NoError(t, err)
				w.kill(t, w.id(t, tx))
				return nil
			})
			require.Error(t, err)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.False(t, nogap.Retryable(err))
			requireClean(t, db)
			require.Zero(t, w.applied(t))
		})
		t.Run("before ROLLBACK", func(t *testing.T) {
			w := newWorld(t, target)
			db := target.Connect(t, w.dsn)
			err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), add)
				require.NoError(t, err)
				w.kill(t, w.id(t, tx))
				return errCallback
			})
			require.ErrorIs(t, err, errCallback)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			requireClean(t, db)
			require.Zero(t, w.applied(t))
		})
	})
}

// The server ends a connection whose statement waits for a row lock.
func TestWaitingStatementIsKilled(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		for _, a := range adders(target) {
			t.Run(a.name, func(t *testing.T) {
				w := newWorld(t, target)
				db := target.Connect(t, w.dsn)
				db.SetMaxOpenConns(1)
				ids := w.idle(t, db, 1)
				release := w.lock(t)
				result := make(chan error, 1)
				go func() { result <- a.run(t.Context(), w, db) }()
				w.AwaitBlocked(t, w.direct)
				w.kill(t, ids[0])
				err := <-result
				release()
				require.Error(t, err)
				if a.name == commitAdder.name {
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				}
				w.requireHonest(t, err)
				requireClean(t, db)
				require.Zero(t, w.applied(t))
			})
		}
	})
}

// lock holds the row, or on SQLite the database, until release, which may be called more than once.
func (w *world) lock(t *testing.T) (release func()) {
	t.Helper()
	tx, err := w.direct.Begin()
	require.NoError(t, err)
	t.Cleanup(func() { tx.Rollback() })
	_, err = tx.Exec("UPDATE items SET stock = stock WHERE id = 1")
	require.NoError(t, err)
	if w.Dialect == nogap.MariaDB || w.Dialect == nogap.MySQL {
		// It changes nothing, and still locks.
		_, err = tx.Exec("SELECT * FROM items WHERE id = 1 FOR UPDATE")
		require.NoError(t, err)
	}
	return func() { tx.Rollback() }
}

// The context ends while the statement waits for a lock.
func TestContextEndsInLockWait(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, a := range adders(target) {
			t.Run(a.name, func(t *testing.T) {
				w := newWorld(t, target)
				db := target.Connect(t, w.dsn)
				clock := w.startClock(t)
				release := w.lock(t)
				ended := clock.Now() + 200*time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- a.run(ctx, w, db) }()
				limit := time.Minute
				if target.Name == "sqlite/mattn" {
					limit = 2 * time.Second // it does not interrupt the wait, and gets its lock
				}
				var err error
				select {
				case err = <-result:
				case <-time.After(limit):
					require.Equal(t, "sqlite/mattn", target.Name)
					release()
					err = <-result
				}
				release()
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				told(t, err, clock, ended)
				t.Logf("%v", err)
				requireClean(t, db)
				w.requireHonest(t, err)
			})
		}
	})
}
