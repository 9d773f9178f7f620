package transaction_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

var (
	errBoom    = errors.New("boom")
	asPostgres = transaction.WithDialect(nogap.Postgres)
	asSQLite   = transaction.WithDialect(nogap.SQLite)
)

// stateError is the error of a PostgreSQL server.
type stateError string

func (e stateError) Error() string    { return "state " + string(e) }
func (e stateError) SQLState() string { return string(e) }

const deadlock, serialization, lockNotAvailable = stateError("40P01"), stateError("40001"), stateError("55P03")

// server does what it is told, and fails where fail returns an error.
func server(fail func(c fakedb.Call) error) *fakedb.Server {
	return fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if fail != nil {
			if err := fail(c); err != nil {
				return fakedb.Reply{}, err
			}
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

func write(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = ?"), 1)
	return err
}

func TestStatements(t *testing.T) {
	before := transaction.Before(func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "SET LOCAL tenant = 'a'")
		return err
	})
	tests := []struct {
		name string
		opts []transaction.Option
		want []string
	}{
		{"default", []transaction.Option{asPostgres}, []string{"BEGIN", "UPDATE items SET stock = $1", "COMMIT"}},
		{"serializable", []transaction.Option{asPostgres, transaction.Serializable()},
			[]string{"BEGIN Serializable", "UPDATE items SET stock = $1", "COMMIT"}},
		{"isolation", []transaction.Option{asPostgres, transaction.Isolation(sql.LevelRepeatableRead)},
			[]string{"BEGIN Repeatable Read", "UPDATE items SET stock = $1", "COMMIT"}},
		{"read only", []transaction.Option{asPostgres, transaction.ReadOnly()},
			[]string{"BEGIN READ ONLY", "UPDATE items SET stock = $1", "COMMIT"}},
		{"before", []transaction.Option{before, asPostgres},
			[]string{"BEGIN", "SET LOCAL tenant = 'a'", "UPDATE items SET stock = $1", "COMMIT"}},
		{"mysql", []transaction.Option{transaction.WithDialect(nogap.MySQL)},
			[]string{"BEGIN", "UPDATE items SET stock = ?", "COMMIT"}},
		{"sqlite", []transaction.Option{asSQLite, transaction.Serializable()},
			[]string{"BEGIN", "UPDATE items SET stock = ?", "COMMIT"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := server(nil)
			db := s.DB()
			defer db.Close()
			require.NoError(t, transaction.Run(t.Context(), db, write, test.opts...))
			var got []string
			for _, c := range s.Calls() {
				line := c.String()
				if c.Kind == fakedb.Begin && c.Tx.Isolation != 0 {
					line += " " + sql.IsolationLevel(c.Tx.Isolation).String()
				}
				if c.Tx.ReadOnly {
					line += " READ ONLY"
				}
				got = append(got, line)
			}
			require.Subset(t, got, test.want)
			require.Equal(t, test.want[len(test.want)-2:], got[len(got)-2:])
		})
	}
}

// On SQLite the write lock is taken before the callback reads, unless it only reads.
func TestWriteLockComesFirst(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		opts := []transaction.Option{asSQLite}
		if readOnly {
			opts = append(opts, transaction.ReadOnly())
		}
		var before []string
		require.NoError(t, transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
			before = s.Log()
			return nil
		}, opts...))
		writes := slices.ContainsFunc(before, func(q string) bool { return q != "BEGIN" })
		require.Equal(t, !readOnly, writes, before)
	}
}

func TestRunsAgainWhatTheServerHasUndone(t *testing.T) {
	tests := []struct {
		name string
		at   fakedb.Kind
		err  error
	}{
		{"deadlock at a statement", fakedb.Exec, deadlock},
		{"serialization failure at COMMIT", fakedb.Commit, serialization},
		{"deadlock at BEGIN", fakedb.Begin, deadlock},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			left := 3
			s := server(func(c fakedb.Call) error {
				if c.Kind == test.at && left > 0 {
					left--
					return test.err
				}
				return nil
			})
			db := s.DB()
			defer db.Close()
			require.NoError(t, transaction.Run(t.Context(), db, write, asPostgres))
			require.Zero(t, left)
			require.Equal(t, []string{"BEGIN", "UPDATE items SET stock = $1", "COMMIT"}, s.Log()[len(s.Log())-3:])
			require.Zero(t, s.Dirty())
			require.Zero(t, db.Stats().InUse)
		})
	}
}

func TestGivesUp(t *testing.T) {
	calls := 0
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Exec && c.Query != "ROLLBACK" {
			calls++
			return deadlock
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	err := transaction.Run(t.Context(), db, write, asPostgres, transaction.MaxAttempts(3),
		transaction.Backoff(func(int) time.Duration { return 0 }))
	require.ErrorIs(t, err, nogap.ErrRetriesExhausted)
	require.ErrorIs(t, err, deadlock)
	require.Equal(t, 3, calls)
	require.NotContains(t, s.Log(), "COMMIT")
}

func TestErrorsOfTheCallback(t *testing.T) {
	tests := []struct {
		name string
		err  error
		is   error
		same bool
	}{
		{"its own", errBoom, errBoom, true},
		{"a lock timeout", lockNotAvailable, nogap.ErrLockTimeout, false},
		{"no row", sql.ErrNoRows, sql.ErrNoRows, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := server(nil)
			db := s.DB()
			defer db.Close()
			calls := 0
			err := transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
				calls++
				return test.err
			}, asPostgres)
			require.ErrorIs(t, err, test.is)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.same, err == test.err)
			require.Equal(t, 1, calls)
			require.Equal(t, []string{"BEGIN", "ROLLBACK"}, s.Log())
		})
	}
}

func TestPanicAndGoexit(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	require.PanicsWithValue(t, "boom", func() {
		transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error { panic("boom") }, asPostgres)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error { runtime.Goexit(); return nil }, asPostgres)
	}()
	<-done
	require.Equal(t, []string{"BEGIN", "ROLLBACK", "BEGIN", "ROLLBACK"}, s.Log())
	require.Zero(t, db.Stats().InUse)
}

func TestLostCommit(t *testing.T) {
	broken := errors.New("connection reset")
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Commit || c.Query == "ROLLBACK" {
			return broken
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	calls := 0
	err := transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		calls++
		return write(ctx, tx)
	}, asPostgres)
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	require.ErrorIs(t, err, broken)
	require.Equal(t, 1, calls)
}

func TestNested(t *testing.T) {
	s, other := server(nil), server(nil)
	db, otherDB := s.DB(), other.DB()
	defer db.Close()
	defer otherDB.Close()
	var kept context.Context
	err := transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		kept = ctx
		require.NoError(t, transaction.Run(ctx, otherDB, write, asPostgres), "two databases are two transactions")
		return transaction.Run(ctx, db, write, asPostgres)
	}, asPostgres)
	require.ErrorContains(t, err, "use the callback's tx")
	require.Equal(t, []string{"BEGIN", "ROLLBACK"}, s.Log())
	require.NoError(t, transaction.Run(kept, db, write, asPostgres), "a callback that is over holds nothing")
}

func TestContext(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	err := transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
		cancel()
		return nil
	}, asPostgres)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"BEGIN", "ROLLBACK"}, s.Log())
	require.ErrorIs(t, transaction.Run(ctx, db, write, asPostgres), context.Canceled)
}

func TestBadInput(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	tests := []struct {
		name string
		db   *sql.DB
		fn   func(context.Context, *sqlx.Tx) error
		opts []transaction.Option
		says string
	}{
		{"no db", nil, write, nil, "transaction: db is nil"},
		{"no callback", db, nil, nil, "transaction: the callback is nil"},
		{"nil option", db, write, []transaction.Option{nil}, "option 0 is nil"},
		{"attempts", db, write, []transaction.Option{transaction.MaxAttempts(0)}, "MaxAttempts(0) is less than 1"},
		{"backoff", db, write, []transaction.Option{transaction.Backoff(nil)}, "Backoff(nil)"},
		{"before", db, write, []transaction.Option{transaction.Before(nil)}, "Before(nil)"},
		{"level", db, write, []transaction.Option{transaction.Isolation(sql.LevelSnapshot)}, "Isolation(Snapshot)"},
		{"twice", db, write, []transaction.Option{transaction.ReadOnly(), transaction.ReadOnly()}, "ReadOnly is given twice"},
		{"two levels", db, write, []transaction.Option{transaction.Serializable(), transaction.Isolation(sql.LevelDefault)},
			"Isolation and Serializable contradict"},
		{"dialect", db, write, []transaction.Option{transaction.WithDialect(77)}, "Dialect(77)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := transaction.Run(t.Context(), test.db, test.fn, test.opts...)
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "transaction: ")
			require.Empty(t, s.Log())
		})
	}
}

type seen struct{ ended []nogap.Result }

func (s *seen) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	if op != (nogap.Operation{Name: "transaction.Run"}) {
		panic(op)
	}
	return ctx, func(r nogap.Result) { s.ended = append(s.ended, r) }
}

func TestObserver(t *testing.T) {
	left := 2
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Exec && left > 0 {
			left--
			return deadlock
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	var o seen
	defer nogap.Observe(db, &o)()
	require.NoError(t, transaction.Run(t.Context(), db, write, asPostgres))
	err := transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error { return sql.ErrNoRows }, asPostgres)
	require.ErrorIs(t, err, sql.ErrNoRows)
	require.Len(t, o.ended, 2)
	require.Equal(t, nogap.OutcomeOK, o.ended[0].Outcome)
	require.Equal(t, 3, o.ended[0].Attempts)
	require.Equal(t, nogap.OutcomeError, o.ended[1].Outcome)
}

// Calls that have lost run their next attempts one after another, the other calls go on meanwhile, and nobody who waits for
// the turn holds a connection.
func TestLosersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		const losers = 5
		running, most := 0, 0
		results := make(chan error, losers)
		for range losers {
			go func() {
				attempts := 0
				results <- transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
					if attempts++; attempts == 1 {
						return deadlock
					}
					running++
					most = max(most, running)
					time.Sleep(10 * time.Millisecond)
					running--
					return nil
				}, asPostgres)
			}()
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, db.Stats().InUse)
		require.NoError(t, transaction.Run(t.Context(), db, write, asPostgres), "who has not lost does not wait")
		for range losers {
			require.NoError(t, <-results)
		}
		require.Equal(t, 1, most)
	})
}

// A turn is advice: one that hangs keeps the others up for the longest wait of the backoff only.
func TestTurnIsAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		hangs := make(chan struct{})
		run := func(second func()) error {
			attempts := 0
			return transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
				if attempts++; attempts == 1 {
					return deadlock
				}
				second()
				return nil
			}, asPostgres)
		}
		go run(func() { <-hangs })
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		require.NoError(t, run(func() {}))
		require.InDelta(t, 250*time.Millisecond, time.Since(start), float64(5*time.Millisecond))

		time.Sleep(time.Second) // the turn has been given up
		start = time.Now()
		require.NoError(t, run(func() {}))
		require.Less(t, time.Since(start), 5*time.Millisecond)
		close(hangs)
		synctest.Wait()
	})
}

// How long the turn is waited for, and when it is given up, depends on how long the lost attempt took.
func TestTimesOfATurn(t *testing.T) {
	hours := transaction.Backoff(func(failed int) time.Duration { return time.Duration(failed-1) * time.Hour })
	for name, tt := range map[string]struct {
		holders    int           // who come one after another, a second apart, and hang when they have the turn
		held, lost time.Duration // what the lost attempts took of the holders, and of the one that comes last
		want       time.Duration // how long the last one waits for its turn
		opts       []transaction.Option
	}{
		"waits as long as the backoff":   {1, 10 * time.Second, time.Millisecond, 250 * time.Millisecond, nil},
		"waits sixty times the attempt":  {1, 10 * time.Second, 100 * time.Millisecond, 6 * time.Second, nil},
		"waits for no more than this":    {7, 10 * time.Second, 2 * time.Second, time.Minute, nil},
		"whatever the backoff is":        {7, 10 * time.Second, time.Millisecond, time.Minute, []transaction.Option{hours}},
		"is given up after a second":     {1, time.Millisecond, time.Second, time.Second, nil},
		"is given up after ten attempts": {1, 300 * time.Millisecond, time.Second, 3 * time.Second, nil},
		"is given up after ten seconds":  {1, 20 * time.Second, time.Second, 10 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := server(nil).DB()
				defer db.Close()
				hangs := make(chan struct{})
				run := func(takes time.Duration, second func()) (waited time.Duration) {
					var lost time.Time
					err := transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
						if lost.IsZero() {
							time.Sleep(takes)
							lost = time.Now()
							return deadlock
						}
						waited = time.Since(lost)
						second()
						return nil
					}, append(tt.opts, asPostgres)...)
					require.NoError(t, err)
					return waited
				}
				// The last holder loses at the end, and the one that comes last 10 ms later.
				end := tt.held + time.Duration(tt.holders)*time.Second + tt.lost
				for n := range tt.holders {
					go func() {
						time.Sleep(end - tt.held - time.Duration(tt.holders-1-n)*time.Second)
						run(tt.held, func() { <-hangs })
					}()
				}
				time.Sleep(end + 10*time.Millisecond - tt.lost)
				require.InDelta(t, tt.want, run(tt.lost, func() {}), float64(15*time.Millisecond))
				close(hangs)
				synctest.Wait()
			})
		})
	}
}

// In the callback of another database the call waits for no turn: who has it may wait for what that callback has locked.
func TestNoTurnInsideACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other := server(nil), server(nil)
		db, otherDB := s.DB(), other.DB()
		defer db.Close()
		defer otherDB.Close()
		hangs := make(chan struct{})
		twice := func(second func()) func(context.Context, *sqlx.Tx) error {
			attempts := 0
			return func(context.Context, *sqlx.Tx) error {
				if attempts++; attempts == 1 {
					return deadlock
				}
				second()
				return nil
			}
		}
		go transaction.Run(t.Context(), db, twice(func() { <-hangs }), asPostgres)
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		require.NoError(t, transaction.Run(t.Context(), otherDB, func(ctx context.Context, _ *sqlx.Tx) error {
			return transaction.Run(ctx, db, twice(func() {}), asPostgres)
		}, asPostgres))
		require.Less(t, time.Since(start), 5*time.Millisecond)
		close(hangs)
		synctest.Wait()
	})
}

// An error of COMMIT is the package's, one of a callback is the callback's own.
func TestErrorOfCommit(t *testing.T) {
	for _, refusal := range []stateError{"23514", serialization, lockNotAvailable} {
		s := server(func(c fakedb.Call) error {
			if c.Kind == fakedb.Commit {
				return refusal
			}
			return nil
		})
		db := s.DB()
		defer db.Close()
		err := transaction.Run(t.Context(), db, write, asPostgres, transaction.MaxAttempts(1))
		require.ErrorContains(t, err, "transaction: ")
		require.ErrorIs(t, err, refusal)
		require.Equal(t, refusal == serialization, errors.Is(err, nogap.ErrRetriesExhausted))
		require.Equal(t, refusal == lockNotAvailable, errors.Is(err, nogap.ErrLockTimeout))

		boom := func(context.Context, *sqlx.Tx) error { return errBoom }
		require.Equal(t, errBoom, transaction.Run(t.Context(), db, boom, asPostgres))
		require.Equal(t, errBoom, transaction.Run(t.Context(), db, write, asPostgres, transaction.Before(boom)))
	}
}

// A look at a table that a callback uses first may lose against others, too. Then all is run again, and the look as well.
func TestRunsAgainAfterALookThatLost(t *testing.T) {
	s, looks := server(nil), 0
	s.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if looks++; looks == 1 {
			return fakedb.Reply{}, deadlock
		}
		return fakedb.Looked(c, ""), nil
	}
	db := s.DB()
	defer db.Close()
	orders, err := atomic.NewState[string](db, "orders", "status", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	runs := 0
	err = transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		runs++
		err := orders.WithTx(tx).Transition(ctx, "pending", "paid", 1)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		if errors.Is(err, deadlock) {
			return err
		}
		return nil // the fake server says that there is no such order
	}, asPostgres)
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	require.Equal(t, 2, looks)
}

// A session that does more at COMMIT, or commits nothing, is an error before BEGIN. What is fine is asked once.
func TestLooksAtTheSession(t *testing.T) {
	for _, d := range []nogap.Dialect{nogap.MySQL, nogap.MariaDB} {
		s, looks := server(nil), 0
		told := fakedb.Row(int64(1), "CHAIN")
		s.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			looks++
			return told, nil
		}
		db := s.DB()
		defer db.Close()
		run := func() error { return transaction.Run(t.Context(), db, write, transaction.WithDialect(d)) }
		require.ErrorContains(t, run(), "transaction: the session has completion_type=CHAIN")
		told = fakedb.Row(int64(0), "NO_CHAIN")
		require.ErrorContains(t, run(), "transaction: the session has autocommit=0")
		require.NotContains(t, s.Log(), "BEGIN")
		told = fakedb.Row(int64(1), "NO_CHAIN")
		for range 3 {
			require.NoError(t, run())
		}
		require.Equal(t, 3, looks)
	}
}

// Before is called inside the transaction, as the callback is.
func TestBeforeIsInTheTransaction(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	err := transaction.Run(t.Context(), db, write, asPostgres, transaction.Before(func(ctx context.Context, tx *sqlx.Tx) error {
		return transaction.Run(ctx, db, write, asPostgres)
	}))
	require.ErrorContains(t, err, "use the callback's tx")
	require.Equal(t, []string{"BEGIN", "ROLLBACK"}, s.Log())

	on := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(int64(1)), nil })
	lite := on.DB()
	defer lite.Close()
	stock, err := atomic.NewCounter[int64](lite, "items", "stock", atomic.WithDialect(nogap.SQLite))
	require.NoError(t, err)
	onPool := func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := stock.Decrement(ctx, 1, 1)
		return err
	}
	err = transaction.Run(t.Context(), lite, write, asSQLite, transaction.Before(onPool))
	require.ErrorContains(t, err, "would wait for itself")
}

// On SQLite a transaction that only reads has no write lock for which a call on the pool could wait.
func TestReadOnlyHoldsNothing(t *testing.T) {
	s := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(int64(1)), nil })
	db := s.DB()
	defer db.Close()
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.SQLite))
	require.NoError(t, err)
	onPool := func(ctx context.Context, _ *sqlx.Tx) error {
		_, err := stock.Decrement(ctx, 1, 1)
		return err
	}
	require.ErrorContains(t, transaction.Run(t.Context(), db, onPool, asSQLite), "would wait for itself")
	require.NoError(t, transaction.Run(t.Context(), db, onPool, asSQLite, transaction.ReadOnly()))
	require.NoError(t, transaction.Run(t.Context(), db, write, asSQLite, transaction.ReadOnly(), transaction.Before(onPool)))
	err = transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
		if _, err := stock.WithTx(tx).Decrement(ctx, 1, 1); err != nil {
			return err
		}
		return onPool(ctx, tx)
	}, asSQLite, transaction.ReadOnly())
	require.ErrorContains(t, err, "would wait for itself", "it has written nevertheless")
}
