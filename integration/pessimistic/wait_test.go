//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

func notCalled(t *testing.T) func(context.Context, *sqlx.Tx, *Item) error {
	return func(context.Context, *sqlx.Tx, *Item) error {
		t.Error("the callback was called")
		return nil
	}
}

func TestNoWait(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		createItems(t, db, 2)
		ctx := concurrent.Within(t, time.Minute)
		if isSQLite(target) {
			err := pessimistic.WithRowLock(ctx, db, item(1), notCalled(t), pessimistic.NoWait())
			require.ErrorContains(t, err, "NoWait: SQLite")
			return
		}
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1), pessimistic.NoWait()))

		release := holdRow(t, target, dsn)
		err := pessimistic.WithRowLock(ctx, db, item(1), notCalled(t), pessimistic.NoWait())
		require.ErrorIs(t, err, pessimistic.ErrLocked)
		require.NotErrorIs(t, err, pessimistic.ErrRetriesExhausted)
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(2), take(1), pessimistic.NoWait()))

		// LockRow says the same, and a callback that returns it is not run again.
		calls := 0
		err = pessimistic.WithRowLock(ctx, db, item(2), func(ctx context.Context, tx *sqlx.Tx, _ *Item) error {
			calls++
			_, err := pessimistic.LockRow[Item](ctx, tx, item(1), pessimistic.NoWait())
			return err
		})
		require.ErrorIs(t, err, pessimistic.ErrLocked)
		require.Equal(t, 1, calls)
		release()
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1), pessimistic.NoWait()))
	})
}

func TestTimeout(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		createItems(t, db, 2)
		ctx := concurrent.Within(t, time.Minute)
		release := holdRow(t, target, dsn)
		start := time.Now()
		err := pessimistic.WithRowLock(ctx, db, item(1), notCalled(t), pessimistic.Timeout(150*time.Millisecond))
		require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
		require.NotErrorIs(t, err, pessimistic.ErrRetriesExhausted)
		require.GreaterOrEqual(t, time.Since(start), 150*time.Millisecond)

		err = pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "items", Keys: []any{2, 1}},
			func(context.Context, *sqlx.Tx, []*Item) error { t.Error("called"); return nil },
			pessimistic.Timeout(100*time.Millisecond))
		require.ErrorIs(t, err, pessimistic.ErrLockTimeout)

		release()
		// MariaDB's limit is one for the whole statement, so a short one can end it without any wait for a lock.
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1), pessimistic.Timeout(time.Minute)))
	})
}

// limit is a setting by which a server limits waits for locks.
type limit struct{ read, change, before string }

func limitOf(target matrix.Target) limit {
	switch target.Dialect {
	case nogap.Postgres:
		return limit{"SELECT current_setting('lock_timeout')", "SET lock_timeout = '7s'", "7s"}
	case nogap.SQLite:
		return limit{"PRAGMA busy_timeout", "PRAGMA busy_timeout = 7000", "7000"}
	}
	return limit{"SELECT CONCAT(@@innodb_lock_wait_timeout, ' ', @@innodb_lock_wait_timeout)",
		"SET innodb_lock_wait_timeout = 7", "7 7"}
}

// The next user of the connection, and the callback itself, see the limit that was there before.
func TestTimeoutDoesNotLeak(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		variants := map[string][]pessimistic.Option{"": nil}
		if target.Dialect == nogap.MariaDB {
			// What is done on MySQL works on MariaDB too: the session's value is changed and restored.
			variants["as MySQL"] = []pessimistic.Option{pessimistic.WithDialect(nogap.MySQL)}
		}
		for name, given := range variants {
			// A short limit is only for what waits in vain: MariaDB has it for the whole statement.
			opts := append(slices.Clone(given), pessimistic.Timeout(time.Minute))
			short := append(slices.Clone(given), pessimistic.Timeout(300*time.Millisecond))
			t.Run(name, func(t *testing.T) {
				dsn := target.DSN(t)
				db := target.Connect(t, dsn)
				createItems(t, db, 2)
				ctx := concurrent.Within(t, time.Minute)

				db.SetMaxOpenConns(1)
				limit := limitOf(target)
				exec(t, db, limit.change)
				var id string
				check := func(q interface {
					QueryRow(string, ...any) *sql.Row
				}) {
					t.Helper()
					var now string
					require.NoError(t, q.QueryRow(limit.read).Scan(&now))
					require.Equal(t, limit.before, now)
				}
				if !isSQLite(target) {
					require.NoError(t, db.QueryRow(connectionID(target)).Scan(&id))
				}
				run := func(opts []pessimistic.Option, fn func(*sqlx.Tx) error) error {
					return pessimistic.WithRowLock(ctx, db, item(1), func(_ context.Context, tx *sqlx.Tx, _ *Item) error {
						check(tx)
						return fn(tx)
					}, opts...)
				}
				require.NoError(t, run(opts, func(*sqlx.Tx) error { return nil }))
				check(db)
				require.ErrorIs(t, run(opts, func(*sqlx.Tx) error { return errDone }), errDone)
				check(db)
				require.Panics(t, func() { run(opts, func(*sqlx.Tx) error { panic("no") }) })
				check(db)
				err := pessimistic.WithRowLock(ctx, db, item(9), notCalled(t), opts...)
				require.ErrorIs(t, err, sql.ErrNoRows)
				check(db)
				err = pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: 1, Columns: []string{"id"}},
					func(context.Context, *sqlx.Tx, *unreadable) error { return nil }, opts...)
				require.ErrorIs(t, err, errDone)
				check(db)

				tx, err := sqlx.NewDb(db, "").BeginTxx(ctx, nil)
				require.NoError(t, err)
				_, err = pessimistic.LockRow[Item](ctx, tx, item(1), opts...)
				require.NoError(t, err)
				check(tx)
				require.NoError(t, tx.Rollback())
				check(db)

				release := holdRow(t, target, dsn)
				require.ErrorIs(t, run(short, func(*sqlx.Tx) error { return nil }), pessimistic.ErrLockTimeout)
				check(db)
				tx, err = sqlx.NewDb(db, "").BeginTxx(ctx, nil)
				require.NoError(t, err)
				_, err = pessimistic.LockRow[Item](ctx, tx, item(1), short...)
				require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
				require.NoError(t, tx.Rollback())
				check(db)
				release()

				if !isSQLite(target) {
					var now string
					require.NoError(t, db.QueryRow(connectionID(target)).Scan(&now))
					require.Equal(t, id, now, "it must be the same connection, or nothing was tested")
				}
			})
		}
	})
}

// unreadable can't be scanned.
type unreadable struct{}

func (*unreadable) Scan(any) error { return errDone }

func connectionID(target matrix.Target) string {
	if target.Dialect == nogap.Postgres {
		return "SELECT pg_backend_pid()"
	}
	return "SELECT CONNECTION_ID()"
}

// NoWait and Timeout also count the callers of the same process, which wait without a connection.
func TestWaitingInTheProcess(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		ctx := concurrent.Within(t, time.Minute)
		err := pessimistic.WithRowLock(ctx, db, item(1), func(inner context.Context, tx *sqlx.Tx, it *Item) error {
			done := make(chan error)
			waits := map[error]pessimistic.Option{
				pessimistic.ErrLocked:      pessimistic.NoWait(),
				pessimistic.ErrLockTimeout: pessimistic.Timeout(50 * time.Millisecond),
			}
			if isSQLite(target) {
				delete(waits, pessimistic.ErrLocked)
			}
			for want, opt := range waits {
				go func() { done <- pessimistic.WithRowLock(ctx, db, item(1), notCalled(t), opt) }()
				require.ErrorIs(t, <-done, want)
				require.Equal(t, 1, db.Stats().InUse)
			}
			cancelled, cancel := context.WithCancel(ctx)
			go func() { done <- pessimistic.WithRowLock(cancelled, db, item(1), notCalled(t)) }()
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)

			// The same row again, by a call that would wait for itself.
			err := pessimistic.WithRowLock(inner, db, item(1), notCalled(t))
			require.ErrorContains(t, err, "LockRow")
			return take(1)(inner, tx, it)
		})
		require.NoError(t, err)
		require.Zero(t, db.Stats().WaitCount)
		require.Equal(t, 99, stockOf(t, db, 1))
	})
}

// What a server does not have is an error that names it and the option.
func TestUnsupportedOptions(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		server := target.Dialect.String()
		options := map[string]pessimistic.Option{
			"ForNoKeyUpdate": pessimistic.ForNoKeyUpdate(),
			"ForShare":       pessimistic.ForShare(),
			"ForKeyShare":    pessimistic.ForKeyShare(),
			"NoWait":         pessimistic.NoWait(),
		}
		works := map[nogap.Dialect][]string{
			nogap.Postgres: {"ForNoKeyUpdate", "ForShare", "ForKeyShare", "NoWait"},
			nogap.MariaDB:  {"ForShare", "NoWait"},
			nogap.MySQL:    {"ForShare", "NoWait"},
		}[target.Dialect]
		for name, opt := range options {
			calls := 0
			err := pessimistic.WithRowLock(t.Context(), db, item(1), func(context.Context, *sqlx.Tx, *Item) error {
				calls++
				return nil
			}, opt)
			if slices.Contains(works, name) {
				require.NoError(t, err, name)
				require.Equal(t, 1, calls)
				continue
			}
			require.ErrorContains(t, err, name+": "+server)
			require.Zero(t, calls)
		}
	})
}

// Shared locks do not keep each other out, and exclude writers.
func TestShare(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if isSQLite(target) {
			return // see TestUnsupportedOptions
		}
		db := target.Open(t)
		createItems(t, db, 1)
		ctx := concurrent.Within(t, time.Minute)
		share := pessimistic.ForShare()
		err := pessimistic.WithRowLock(ctx, db, item(1), func(inner context.Context, _ *sqlx.Tx, _ *Item) error {
			err := pessimistic.WithRowLock(inner, db, item(1), func(context.Context, *sqlx.Tx, *Item) error { return nil }, share)
			require.NoError(t, err)
			require.ErrorIs(t, pessimistic.WithRowLock(ctx, db, item(1), notCalled(t), pessimistic.NoWait()), pessimistic.ErrLocked)
			return pessimistic.WithRowLock(inner, db, item(1), notCalled(t))
		}, share)
		require.ErrorContains(t, err, "LockRow", "a nested exclusive lock would wait for its own outer one")
	})
}
