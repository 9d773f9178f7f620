package transaction_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

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
