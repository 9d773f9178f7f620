//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"errors"
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

// doNothing is a callback.
func doNothing(context.Context, *sqlx.Tx) error { return nil }

func named() []matrix.Target { return append(matrix.All(), matrix.PgBouncer()...) }

// There is no row to lock yet: the numbers of the invoices must have no gaps and no duplicates, also between processes.
func TestNamedLock(t *testing.T) {
	matrix.Run(t, named(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		exec(t, pools[0], "CREATE TABLE invoices (n int NOT NULL)") // no unique index: a mistake would show
		ctx := concurrent.Within(t, time.Minute)
		var inside atomic.Int32
		invoice := func(ctx context.Context, tx *sqlx.Tx) error {
			if inside.Add(1) != 1 {
				return errors.New("two at once")
			}
			defer inside.Add(-1)
			var n int
			if err := tx.GetContext(ctx, &n, "SELECT count(*) FROM invoices"); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO invoices VALUES (?)"), n+1)
			return err
		}
		concurrent.Run(t, 20, func(i int) error {
			for range 5 {
				if err := pessimistic.WithNamedLock(ctx, pools[i%2], "invoice-2026", invoice); err != nil {
					return err
				}
			}
			return nil
		})
		var n, distinct, most int
		require.NoError(t, pools[0].QueryRow("SELECT count(*), count(DISTINCT n), max(n) FROM invoices").Scan(&n, &distinct, &most))
		require.Equal(t, []int{100, 100, 100}, []int{n, distinct, most})
	})
}

// Another process gets the lock at once, however the callback before it ended, and so does the same connection.
func TestNamedLockIsReleased(t *testing.T) {
	matrix.Run(t, named(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		db.SetMaxOpenConns(1)
		ctx := concurrent.Within(t, time.Minute)
		run := func(ctx context.Context, db *sql.DB, fn func(*sqlx.Tx) error, opts ...pessimistic.Option) error {
			return pessimistic.WithNamedLock(ctx, db, "a", func(_ context.Context, tx *sqlx.Tx) error { return fn(tx) }, opts...)
		}
		nothing := func(*sqlx.Tx) error { return nil }
		free := func() {
			t.Helper()
			require.NoError(t, run(ctx, other, nothing, pessimistic.Timeout(20*time.Second)))
		}
		require.NoError(t, run(ctx, db, nothing))
		free()
		require.ErrorIs(t, run(ctx, db, func(*sqlx.Tx) error { return errDone }), errDone)
		free()
		require.Panics(t, func() { run(ctx, db, func(*sqlx.Tx) error { panic("no") }) })
		free()
		cancelled, cancel := context.WithCancel(ctx)
		require.ErrorIs(t, run(cancelled, db, func(*sqlx.Tx) error { cancel(); return nil }), context.Canceled)
		free()
		if !isSQLite(target) {
			require.Error(t, run(ctx, db, func(tx *sqlx.Tx) error { kill(t, target, other, tx); return nil }))
			free()
		}

		// Held: others with the name fail as they asked to, those with another name go on.
		require.NoError(t, run(ctx, db, func(*sqlx.Tx) error {
			err := run(ctx, other, nothing, pessimistic.Timeout(100*time.Millisecond))
			require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
			if isSQLite(target) {
				return nil
			}
			require.ErrorIs(t, run(ctx, other, nothing, pessimistic.NoWait()), pessimistic.ErrLocked)
			return pessimistic.WithNamedLock(ctx, other, "A", doNothing, pessimistic.NoWait())
		}))
		free()
	})
}

func TestNamedLockNests(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		ctx := concurrent.Within(t, time.Minute)
		err := pessimistic.WithNamedLock(ctx, db, "a", func(ctx context.Context, _ *sqlx.Tx) error {
			err := pessimistic.WithNamedLock(ctx, db, "b", doNothing)
			if isSQLite(target) {
				require.ErrorContains(t, err, "wait for itself")
			} else {
				require.NoError(t, err)
			}
			return pessimistic.WithNamedLock(ctx, db, "a", doNothing)
		})
		require.ErrorContains(t, err, "wait for itself")
	})
}

// Under REPEATABLE READ PostgreSQL would show what was there before the lock, so it is refused, even if it is only the
// server's default. SERIALIZABLE finds that out itself.
func TestNamedLockAndSnapshots(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		run := func(opts ...pessimistic.Option) error {
			return pessimistic.WithNamedLock(t.Context(), db, "a", doNothing, opts...)
		}
		require.ErrorContains(t, run(pessimistic.Isolation(sql.LevelRepeatableRead)), "REPEATABLE READ")
		require.NoError(t, run(pessimistic.Isolation(sql.LevelSerializable)))
		db.SetMaxOpenConns(1)
		exec(t, db, "SET default_transaction_isolation = 'repeatable read'")
		require.ErrorContains(t, run(), "REPEATABLE READ")
		require.NoError(t, run(pessimistic.Isolation(sql.LevelReadCommitted)))
	})
}

// What is done for MySQL works on MariaDB too.
func TestNamedLockAsMySQL(t *testing.T) {
	matrix.Run(t, matrix.MariaDB()[:1], func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		as := pessimistic.WithDialect(nogap.MySQL)
		require.NoError(t, pessimistic.WithNamedLock(t.Context(), db, "a", func(context.Context, *sqlx.Tx) error {
			require.ErrorIs(t, pessimistic.WithNamedLock(t.Context(), other, "a", doNothing, as, pessimistic.NoWait()), pessimistic.ErrLocked)
			err := pessimistic.WithNamedLock(t.Context(), other, "a", doNothing, as, pessimistic.Timeout(time.Millisecond))
			require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
			return nil
		}, as))
		require.NoError(t, pessimistic.WithNamedLock(t.Context(), other, "a", doNothing, as, pessimistic.NoWait()))
	})
}
