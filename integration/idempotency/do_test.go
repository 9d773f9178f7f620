//go:build unix

package idempotency_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
)

// 50 calls of one key, from three pools that stand for three processes, have one effect, and all get its result.
func TestOneEffect(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		processes := []*idempotency.Store[receipt]{
			newStore(t, target, db), storeOf(t, target.Connect(t, dsn)), storeOf(t, target.Connect(t, dsn)),
		}
		ctx := within(t, time.Minute)
		for round := range 5 {
			key := fmt.Sprint("key", round)
			var fresh atomic.Int32
			results := make([]receipt, 50)
			together(t, 50, func(i int) error {
				got, replayed, err := processes[i%3].Do(ctx, key, pay(key, i))
				if !replayed {
					fresh.Add(1)
				}
				results[i] = got
				return err
			})
			require.EqualValues(t, 1, fresh.Load())
			require.Equal(t, round+1, payments(t, db))
			for _, r := range results {
				require.Equal(t, results[0], r)
			}
		}
		require.Equal(t, 5, keys(t, db))
	})
}

func TestReplay(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		s := newStore(t, target, db)
		ctx := within(t, time.Minute)
		_, found, err := s.Lookup(ctx, "k")
		require.NoError(t, err)
		require.False(t, found)
		got, replayed, err := s.Do(ctx, "k", pay("a", 7))
		require.NoError(t, err)
		require.False(t, replayed)
		require.Equal(t, receipt{"a", 7}, got)
		for _, s := range []*idempotency.Store[receipt]{s, storeOf(t, target.Connect(t, dsn))} { // this process knows the key
			got, replayed, err = s.Do(ctx, "k", pay("b", 8))
			require.NoError(t, err)
			require.True(t, replayed)
			require.Equal(t, receipt{"a", 7}, got)
		}
		got, found, err = s.Lookup(ctx, "k")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, receipt{"a", 7}, got)
		require.Equal(t, 1, payments(t, db))

		require.NoError(t, s.Forget(ctx, "k"))
		require.NoError(t, s.Forget(ctx, "k"), "a key that is not there is no error")
		got, replayed, err = s.Do(ctx, "k", pay("b", 8))
		require.NoError(t, err)
		require.False(t, replayed)
		require.Equal(t, receipt{"b", 8}, got)
	})
}

// What the callback did is rolled back, nothing is stored, and the next call runs it.
func TestCallbackFails(t *testing.T) {
	errRefused := errors.New("card refused")
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		s := newStore(t, target, db)
		ctx := within(t, time.Minute)
		after := func(end func()) func(context.Context, *sqlx.Tx) (receipt, error) {
			return func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
				got, err := pay("a", 1)(ctx, tx)
				require.NoError(t, err)
				end()
				return got, errRefused
			}
		}
		_, _, err := s.Do(ctx, "k", after(func() {}))
		require.Equal(t, errRefused, err)
		require.PanicsWithValue(t, "boom", func() { _, _, _ = s.Do(ctx, "k", after(func() { panic("boom") })) })
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _, _ = s.Do(ctx, "k", after(runtime.Goexit))
		}()
		<-ended
		canceled, cancel := context.WithCancel(ctx)
		_, _, err = s.Do(canceled, "k", func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			got, err := pay("a", 1)(ctx, tx)
			cancel()
			return got, err
		})
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		_, _, err = s.Do(ctx, "k", func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			_, _, err := s.Do(ctx, "other", pay("b", 1))
			return receipt{}, err
		})
		require.ErrorContains(t, err, "use WithTx")
		require.Zero(t, payments(t, db))
		require.Zero(t, keys(t, db))
		_, replayed, err := s.Do(ctx, "k", pay("a", 1))
		require.NoError(t, err)
		require.False(t, replayed)
	})
}

func TestFingerprintScopeAndType(t *testing.T) {
	type renamed struct{ ID, Text string }
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		s := newStore(t, target, db)
		ctx := within(t, time.Minute)
		_, _, err := s.Do(ctx, "k", pay("a", 1), idempotency.Fingerprint("10 EUR"))
		require.NoError(t, err)
		_, replayed, err := s.Do(ctx, "k", pay("a", 1), idempotency.Fingerprint("10 EUR"))
		require.NoError(t, err)
		require.True(t, replayed)
		_, _, err = s.Do(ctx, "k", pay("a", 1), idempotency.Fingerprint("20 EUR"))
		require.ErrorIs(t, err, idempotency.ErrKeyReused)
		_, _, err = s.Do(ctx, "k", pay("a", 1), idempotency.Fingerprint("20 EUR"), idempotency.NoWait())
		require.ErrorIs(t, err, idempotency.ErrKeyReused)

		_, replayed, err = storeOf(t, db, idempotency.Scope("refunds")).Do(ctx, "k", pay("b", 2))
		require.NoError(t, err)
		require.False(t, replayed)

		other, err := idempotency.New[renamed](db, "idempotency_keys")
		require.NoError(t, err)
		_, _, err = other.Do(ctx, "k", func(context.Context, *sqlx.Tx) (renamed, error) { return renamed{}, nil })
		require.ErrorIs(t, err, idempotency.ErrTypeChanged)
		require.ErrorContains(t, err, "receipt{ID string; Left int64; }")
		require.ErrorContains(t, err, "renamed{ID string; Text string; }")
		_, _, err = other.Lookup(ctx, "k")
		require.ErrorIs(t, err, idempotency.ErrTypeChanged)
		require.Equal(t, 2, payments(t, db))
	})
}

// Keys are bytes: what a collation takes for one key is two.
func TestKeysAreBytes(t *testing.T) {
	different := []string{"a", "A", "a ", " a", "á", "a\u0301", "ß", "ss", "\xff", "\xfe", "1", "01", "%", "'", `\`,
		strings.Repeat("x", 255), strings.Repeat("x", 254)}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		s := newStore(t, target, db)
		ctx := within(t, time.Minute)
		for i, key := range different {
			got, replayed, err := s.Do(ctx, key, pay("x", i))
			require.NoError(t, err, "%q", key)
			require.False(t, replayed, "%q", key)
			require.EqualValues(t, i, got.Left)
		}
		for i, key := range different {
			got, found, err := s.Lookup(ctx, key)
			require.NoError(t, err, "%q", key)
			require.True(t, found)
			require.EqualValues(t, i, got.Left, "%q", key)
		}
		for _, key := range []string{"", "a\x00b", strings.Repeat("x", 256)} {
			_, _, err := s.Do(ctx, key, pay("x", 0))
			require.ErrorContains(t, err, "the key", "%q", key)
			_, _, err = s.Lookup(ctx, key)
			require.ErrorContains(t, err, "the key", "%q", key)
			require.ErrorContains(t, s.Forget(ctx, key), "the key", "%q", key)
		}
		require.Equal(t, len(different), payments(t, db))
	})
}

// Every Timeout is one that the server takes: PostgreSQL counts no more than 25 days.
func TestLongTimeout(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		s := newStore(t, target, target.Open(t))
		for _, d := range []time.Duration{30 * 24 * time.Hour, math.MaxInt64} {
			_, _, err := s.Do(within(t, time.Minute), d.String(), pay("a", 1), idempotency.Timeout(d))
			require.NoError(t, err, d)
		}
	})
}

// While a call runs, others of this process and of another one are refused or give up, and its writes are not touched.
func TestNoWaitAndTimeout(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, elsewhere := target.Connect(t, dsn), target.Connect(t, dsn)
		s, far := newStore(t, target, db), storeOf(t, elsewhere)
		ctx := within(t, time.Minute)
		_, _, err := far.Do(ctx, "before", pay("b", 1)) // has looked at the table
		require.NoError(t, err)
		_, _, err = s.Do(ctx, "k", func(inner context.Context, tx *sqlx.Tx) (receipt, error) {
			_, _, err := s.Do(ctx, "k", pay("x", 1), idempotency.NoWait())
			require.ErrorIs(t, err, idempotency.ErrInProgress)
			_, _, err = s.Do(ctx, "k", pay("x", 1), idempotency.Timeout(30*time.Millisecond))
			require.ErrorIs(t, err, nogap.ErrLockTimeout)
			if target.Dialect != nogap.SQLite {
				_, _, err = far.Do(ctx, "k", pay("x", 1), idempotency.NoWait())
				require.ErrorIs(t, err, idempotency.ErrInProgress)
				_, _, err = far.Do(ctx, "k", pay("x", 1), idempotency.Timeout(30*time.Millisecond))
				require.ErrorIs(t, err, nogap.ErrLockTimeout)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			}
			return pay("a", 1)(inner, tx)
		})
		require.NoError(t, err)
		_, replayed, err := far.Do(ctx, "k", pay("x", 1), idempotency.NoWait())
		require.NoError(t, err)
		require.True(t, replayed)
		_, replayed, err = far.Do(ctx, "new", pay("c", 1), idempotency.NoWait())
		require.NoError(t, err)
		require.False(t, replayed)
		require.Equal(t, 3, payments(t, db))
	})
}

// 40 duplicates that wait hold no connection of a pool of 4.
func TestWaitersHoldNoConnection(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return // has one writer at a time
		}
		db := target.Open(t)
		s := newStore(t, target, db)
		db.SetMaxOpenConns(4)
		ctx := within(t, time.Minute)
		began, end := make(chan struct{}), make(chan struct{})
		done := make(chan error, 41)
		go func() {
			_, _, err := s.Do(ctx, "slow", func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
				close(began)
				<-end
				return pay("slow", 1)(ctx, tx)
			})
			done <- err
		}()
		<-began
		var replays atomic.Int32
		for range 40 {
			go func() {
				_, replayed, err := s.Do(ctx, "slow", pay("again", 1))
				if replayed {
					replays.Add(1)
				}
				done <- err
			}()
		}
		for i := range 20 {
			_, _, err := s.Do(ctx, fmt.Sprint("other", i), pay("other", 1))
			require.NoError(t, err)
		}
		close(end)
		for range 41 {
			require.NoError(t, <-done)
		}
		require.EqualValues(t, 40, replays.Load())
		require.Equal(t, 21, payments(t, db))
	})
}

// Duplicates of other processes that wait for a key whose first try is rolled back deadlock among each other on InnoDB: nobody
// sees that, and it uses up no attempt.
func TestDuplicatesAfterRollback(t *testing.T) {
	errRefused := errors.New("refused")
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		watch := target.Connect(t, dsn)
		newStore(t, target, watch)
		ctx := within(t, time.Minute)
		var stores []*idempotency.Store[receipt]
		for range 6 {
			db := target.Connect(t, dsn)
			db.SetMaxOpenConns(2)
			stores = append(stores, storeOf(t, db))
			_, _, err := stores[len(stores)-1].Do(ctx, "before", pay("before", 0))
			require.NoError(t, err)
		}
		for round := range 10 {
			key := fmt.Sprint("k", round)
			var ran atomic.Int32
			began := make(chan struct{})
			together(t, len(stores), func(i int) error {
				if i == 0 {
					_, _, err := stores[0].Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
						close(began)
						_, err := pay(key, 0)(ctx, tx)
						awaitWaiting(t, target, watch, len(stores)-1)
						return receipt{}, errors.Join(err, errRefused)
					})
					if !errors.Is(err, errRefused) {
						return fmt.Errorf("the first: %w", err)
					}
					return nil
				}
				<-began
				_, replayed, err := stores[i].Do(ctx, key, pay(key, i), idempotency.MaxAttempts(1))
				if !replayed {
					ran.Add(1)
				}
				return err
			})
			require.EqualValues(t, 1, ran.Load())
		}
		require.Equal(t, 11, payments(t, watch))
	})
}

// awaitWaiting waits until n sessions of the database wait for a lock. SQLite does not tell.
func awaitWaiting(t *testing.T, target matrix.Target, db *sql.DB, n int) {
	query := "SELECT count(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'INSERT INTO %idempotency_keys%'"
	switch target.Dialect {
	case nogap.SQLite:
		return
	case nogap.Postgres:
		query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
	}
	for waiting := 0; waiting < n && t.Context().Err() == nil; {
		require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&waiting))
	}
}

// What the table lacks is an error that prints how to make it.
func TestTableIsNotThere(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		s := storeOf(t, db)
		ctx := within(t, time.Minute)
		exec(t, db, "CREATE TABLE payments (id VARCHAR(300) NOT NULL, n INT NOT NULL)")
		_, _, err := s.Do(ctx, "k", pay("a", 1))
		require.ErrorContains(t, err, s.Schema(target.Dialect))
		_, _, err = s.Lookup(ctx, "k")
		require.ErrorContains(t, err, s.Schema(target.Dialect))
		exec(t, db, "%s", strings.Replace(s.Schema(target.Dialect), ",\n\tPRIMARY KEY (scope, idempotency_key)", "", 1))
		_, _, err = s.Do(ctx, "k", pay("a", 1))
		require.ErrorContains(t, err, s.Schema(target.Dialect))
		require.Zero(t, payments(t, db))
		exec(t, db, "DROP TABLE idempotency_keys")
		exec(t, db, "%s", s.Schema(target.Dialect))
		exec(t, db, "%s", s.Schema(target.Dialect))
		_, _, err = s.Do(ctx, "k", pay("a", 1))
		require.NoError(t, err)
	})
}

func TestSweep(t *testing.T) {
	past := map[nogap.Dialect]string{
		nogap.Postgres: "CURRENT_TIMESTAMP - INTERVAL '2 hours'", nogap.MySQL: "UTC_TIMESTAMP(6) - INTERVAL 2 HOUR",
		nogap.MariaDB: "UTC_TIMESTAMP(6) - INTERVAL 2 HOUR", nogap.SQLite: "strftime('%Y-%m-%d %H:%M:%f', 'now', '-2 hours')",
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		s, other := newStore(t, target, db), storeOf(t, db, idempotency.Scope("other"))
		ctx := within(t, time.Minute)
		_, _, err := other.Do(ctx, "old", pay("a", 1))
		require.NoError(t, err)
		exec(t, db, "UPDATE idempotency_keys SET created_at = %s", past[target.Dialect])
		const old = 1001 // two batches and a key
		row := "(?, ?, 1, " + past[target.Dialect] + ")"
		var args []any
		for i := range old {
			args = append(args, []byte{}, fmt.Appendf(nil, "old%d", i))
		}
		query := "INSERT INTO idempotency_keys (scope, idempotency_key, try, created_at) VALUES " + row + strings.Repeat(", "+row, old-1)
		if target.Dialect == nogap.Postgres {
			query = sqlx.Rebind(sqlx.DOLLAR, query)
		}
		_, err = db.ExecContext(ctx, query, args...)
		require.NoError(t, err)
		_, _, err = s.Do(ctx, "new", pay("a", 1))
		require.NoError(t, err)

		deleted, err := s.Sweep(ctx, 3*time.Hour)
		require.NoError(t, err)
		require.Zero(t, deleted)
		sweep := func() {
			deleted, err = s.Sweep(ctx, time.Hour)
			require.NoError(t, err)
			require.Equal(t, old, deleted)
		}
		if target.Dialect == nogap.SQLite { // has one writer at a time
			sweep()
		} else { // a call whose key is between the others does not hold it up
			_, _, err = storeOf(t, target.Connect(t, dsn)).Do(ctx, "old5-runs", func(context.Context, *sqlx.Tx) (receipt, error) {
				sweep()
				return receipt{}, nil
			})
			require.NoError(t, err)
		}
		_, found, err := s.Lookup(ctx, "new")
		require.NoError(t, err)
		require.True(t, found)
		_, found, err = other.Lookup(ctx, "old")
		require.NoError(t, err)
		require.True(t, found)
		_, err = s.Sweep(ctx, 0)
		require.ErrorContains(t, err, "positive")
	})
}
