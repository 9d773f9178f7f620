package transaction_test

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

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
