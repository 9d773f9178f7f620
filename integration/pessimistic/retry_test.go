//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// meeting is a point where several callbacks wait for each other at their first attempt.
type meeting struct {
	once   [2]sync.Once
	all    sync.WaitGroup
	parted bool // nobody waits
}

func meet(target matrix.Target) *meeting {
	m := &meeting{parted: isSQLite(target)} // there the callbacks never run at the same time
	m.all.Add(2)
	return m
}

func (m *meeting) wait(i int) {
	if m.parted {
		return
	}
	m.once[i].Do(func() {
		m.all.Done()
		m.all.Wait()
	})
}

// Two callbacks lock two rows crosswise. The server ends one of them, which is run again: both moves happen, once.
func TestDeadlock(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 2)
		ctx := concurrent.Within(t, time.Minute)
		meeting := meet(target)
		var attempts atomic.Int32
		move := func(i, from, to int, n int64) error {
			return pessimistic.WithRowLock(ctx, db, item(from), func(ctx context.Context, tx *sqlx.Tx, a *Item) error {
				attempts.Add(1)
				meeting.wait(i)
				b, err := pessimistic.LockRow[Item](ctx, tx, item(to))
				if err != nil {
					return err
				}
				if err := take(n)(ctx, tx, a); err != nil {
					return err
				}
				return take(-n)(ctx, tx, b)
			})
		}
		both(t, func() error { return move(0, 1, 2, 10) }, func() error { return move(1, 2, 1, 3) })
		require.Equal(t, 93, stockOf(t, db, 1))
		require.Equal(t, 107, stockOf(t, db, 2))
		if !isSQLite(target) {
			require.Greater(t, attempts.Load(), int32(2), "there was no deadlock, so nothing was tested")
		}
	})
}

func both(t *testing.T, a, b func() error) {
	t.Helper()
	concurrent.Run(t, 2, func(i int) error { return []func() error{a, b}[i]() })
}

func TestMaxAttempts(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if isSQLite(target) {
			return // its callbacks can't deadlock
		}
		db := target.Open(t)
		createItems(t, db, 2)
		ctx := concurrent.Within(t, time.Minute)
		meeting := meet(target)
		var attempts atomic.Int32
		cross := func(i, from, to int) error {
			return pessimistic.WithRowLock(ctx, db, item(from), func(ctx context.Context, tx *sqlx.Tx, _ *Item) error {
				attempts.Add(1)
				meeting.wait(i)
				_, err := pessimistic.LockRow[Item](ctx, tx, item(to))
				return err
			}, pessimistic.MaxAttempts(1))
		}
		errs := make(chan error, 2)
		go func() { errs <- cross(0, 1, 2) }()
		go func() { errs <- cross(1, 2, 1) }()
		lost, won := <-errs, <-errs
		if lost == nil {
			lost, won = won, lost
		}
		require.NoError(t, won)
		require.ErrorIs(t, lost, pessimistic.ErrRetriesExhausted)
		require.Equal(t, int32(2), attempts.Load())
	})
}

// Each of two doctors goes off duty if the other one is on. Their callbacks lock different rows, so only the isolation
// level keeps one of them on.
func TestSerializable(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 2)
		ctx := concurrent.Within(t, time.Minute)
		meeting := meet(target)
		var attempts atomic.Int32
		off := func(i, me, other int) error {
			return pessimistic.WithRowLock(ctx, db, item(me), func(ctx context.Context, tx *sqlx.Tx, mine *Item) error {
				attempts.Add(1)
				var others int64
				if err := tx.GetContext(ctx, &others, tx.Rebind("SELECT stock FROM items WHERE id = ?"), other); err != nil {
					return err
				}
				meeting.wait(i)
				if others == 0 {
					return nil
				}
				return take(100)(ctx, tx, mine)
			}, pessimistic.Isolation(sql.LevelSerializable))
		}
		if target.Dialect == nogap.MariaDB || target.Dialect == nogap.MySQL {
			meeting.parted = true // the SELECT waits for the other's lock: they would never meet
		}
		both(t, func() error { return off(0, 1, 2) }, func() error { return off(1, 2, 1) })
		require.Equal(t, 100, stockOf(t, db, 1)+stockOf(t, db, 2))
		if target.Dialect == nogap.Postgres {
			require.Greater(t, attempts.Load(), int32(2), "there was no serialization failure, so nothing was tested")
		}
	})
}

// What the callback has read went stale before it locked it: PostgreSQL says 40001, MariaDB 1020 if its snapshots are
// meant to be kept. The callback sees the new value when it is run again. MySQL has no such conflict: what is locked is
// the newest row, whatever was read before.
func TestStaleSnapshot(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		switch target.Dialect {
		case nogap.SQLite:
			return // nobody can write meanwhile
		case nogap.MariaDB:
			dsn += "&innodb_snapshot_isolation=ON"
		}
		db := target.Connect(t, dsn)
		createItems(t, db, 2)
		ctx := concurrent.Within(t, time.Minute)
		attempts := 0
		err := pessimistic.WithRowLock(ctx, db, item(1), func(ctx context.Context, tx *sqlx.Tx, _ *Item) error {
			attempts++
			var seen int64
			require.NoError(t, tx.GetContext(ctx, &seen, "SELECT stock FROM items WHERE id = 2"))
			if attempts == 1 {
				exec(t, db, "UPDATE items SET stock = 50 WHERE id = 2")
			}
			b, err := pessimistic.LockRow[Item](ctx, tx, item(2))
			if err != nil {
				return err
			}
			if target.Dialect == nogap.MySQL {
				require.EqualValues(t, 50, b.Stock, "the row that is locked is the newest one")
				seen = b.Stock
			}
			require.Equal(t, seen, b.Stock)
			return take(seen)(ctx, tx, b)
		}, pessimistic.Isolation(sql.LevelRepeatableRead))
		require.NoError(t, err)
		require.Equal(t, 0, stockOf(t, db, 2))
		if target.Dialect != nogap.MySQL {
			require.Equal(t, 2, attempts, "there was no conflict, so nothing was tested")
		}
	})
}

// The server's own limit for lock waits is as much patience as the caller has asked for: it is waited for once, in the
// lock's statement and in the callback's. MySQL and MariaDB undo the statement alone then; nothing of the transaction must be
// committed.
func TestServersOwnLockTimeout(t *testing.T) {
	matrix.Run(t, append(append(matrix.Postgres(), matrix.MariaDB()...), matrix.MySQL()...), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		db.SetMaxOpenConns(1)
		createItems(t, db, 2)
		if target.Dialect == nogap.Postgres {
			exec(t, db, "SET lock_timeout = '1s'")
		} else {
			exec(t, db, "SET innodb_lock_wait_timeout = 1")
		}
		release := holdRow(t, target, dsn)
		err := pessimistic.WithRowLock(concurrent.Within(t, time.Minute), db, item(1), notCalled(t))
		require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
		require.NotErrorIs(t, err, pessimistic.ErrRetriesExhausted, "it is waited for once")
		var lockErr *pessimistic.LockError
		require.ErrorAs(t, err, &lockErr)
		require.Equal(t, "items", lockErr.Table)
		require.Equal(t, nogap.Key{1}, lockErr.Key)
		require.Greater(t, lockErr.Waited, 500*time.Millisecond)

		attempts := 0
		err = pessimistic.WithRowLock(concurrent.Within(t, time.Minute), db, item(2), func(ctx context.Context, tx *sqlx.Tx, it *Item) error {
			attempts++
			if err := take(1)(ctx, tx, it); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = 1")
			return err
		})
		require.ErrorIs(t, err, nogap.ErrLockTimeout)
		require.NotErrorIs(t, err, nogap.ErrRetriesExhausted)
		require.Equal(t, 1, attempts)
		release()
		require.Equal(t, 100, stockOf(t, db, 1))
		require.Equal(t, 100, stockOf(t, db, 2))
	})
}
