package transaction_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

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
