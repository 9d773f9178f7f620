//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

type status string

func orders(tb testing.TB, target matrix.Target) *sql.DB {
	tb.Helper()
	db := target.Open(tb)
	exec(tb, db, "CREATE TABLE orders (id BIGINT PRIMARY KEY, status VARCHAR(20))")
	exec(tb, db, "INSERT INTO orders VALUES (1, 'pending'), (2, NULL)")
	return db
}

func TestState(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := orders(t, target)
		ctx := t.Context()
		s, err := atomic.NewState[status](db, "orders", "status")
		require.NoError(t, err)
		require.NoError(t, s.Transition(ctx, "pending", "paid", 1))
		err = s.Transition(ctx, "pending", "cancelled", 1)
		require.ErrorIs(t, err, atomic.ErrMismatch)
		var refused *atomic.RefusedError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, status("paid"), refused.Current)
		require.EqualError(t, err, "atomic: orders.status at [1] is paid: mismatch")

		require.ErrorIs(t, s.Transition(ctx, "pending", "paid", 3), sql.ErrNoRows)
		require.ErrorContains(t, s.Transition(ctx, "pending", "paid", 2), "NULL")
		require.ErrorContains(t, s.Transition(ctx, "paid", "paid", 1), "itself")

		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer tx.Rollback()
		require.NoError(t, s.WithTx(tx).Transition(ctx, "paid", "sent", 1))
		require.ErrorIs(t, s.WithTx(tx).Transition(ctx, "paid", "sent", 1), atomic.ErrMismatch)
		require.NoError(t, tx.Commit())
		require.Equal(t, "sent", value[string](t, db, "SELECT status FROM orders WHERE id = 1"))
	})
}

func TestOneWinner(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := orders(t, target)
		s, err := atomic.NewState[string](db, "orders", "status")
		require.NoError(t, err)
		var won, lost stdatomic.Int32
		together(50, func(int) {
			switch err := s.Transition(context.Background(), "pending", "paid", 1); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, atomic.ErrMismatch):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
		require.Equal(t, int32(1), won.Load())
		require.Equal(t, int32(49), lost.Load())
	})
}
