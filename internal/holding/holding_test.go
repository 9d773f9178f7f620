package holding_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/holding"
)

var (
	one = holding.Lock{Table: "items(id)", Key: "1"}
	two = holding.Lock{Table: "items(id)", Key: "2"}
)

func begin(t *testing.T) (*sql.DB, *sql.Tx) {
	t.Helper()
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	tx, err := db.Begin()
	require.NoError(t, err)
	t.Cleanup(func() {
		tx.Rollback()
		db.Close()
	})
	return db, tx
}

func as(t *testing.T, d nogap.Dialect) dialect.Server {
	t.Helper()
	s, err := dialect.Assume(d)
	require.NoError(t, err)
	return s
}

func TestCheck(t *testing.T) {
	db, tx := begin(t)
	other, _ := begin(t)
	require.False(t, holding.Within(t.Context()))
	ctx, end := holding.Begin(t.Context(), db, tx, as(t, nogap.Postgres), true, []holding.Lock{one})
	require.True(t, holding.Within(ctx))
	require.ErrorIs(t, holding.Check(ctx, db, false, one), holding.ErrHeld)
	require.NoError(t, holding.Check(ctx, db, true, two))
	require.NoError(t, holding.Check(ctx, other, true, one), "another database")
	require.NoError(t, holding.Check(t.Context(), db, true, one), "another caller")
	end()
	require.NoError(t, holding.Check(ctx, db, true, one), "the callback has returned")
}

// Shared locks keep out who wants an exclusive one. A shared one that is added does not make the others shared, nor itself
// exclusive.
func TestSharedLocks(t *testing.T) {
	db, tx := begin(t)
	ctx, _ := holding.Begin(t.Context(), db, tx, as(t, nogap.Postgres), false, []holding.Lock{one})
	require.NoError(t, holding.Check(ctx, db, false, one))
	require.ErrorIs(t, holding.Check(ctx, db, true, one), holding.ErrHeld)
	holding.Add(ctx, &sqlx.Tx{Tx: tx}, true, two)
	require.ErrorIs(t, holding.Check(ctx, db, false, two), holding.ErrHeld)
	require.NoError(t, holding.Check(ctx, db, false, one), "it is as shared as before")
	holding.Add(ctx, tx, true, one)
	require.ErrorIs(t, holding.Check(ctx, db, false, one), holding.ErrHeld)
}

func TestWithoutRowLocksEverythingIsHeld(t *testing.T) {
	db, tx := begin(t)
	ctx, _ := holding.Begin(t.Context(), db, tx, as(t, nogap.SQLite), true, nil)
	require.ErrorIs(t, holding.Check(ctx, db, true, one), holding.ErrHeld)
}

// A callback in a callback: the inner transaction waits for what the outer one holds, and not for what it holds itself.
func TestCheckIn(t *testing.T) {
	db, outer := begin(t)
	inner, err := db.Begin()
	require.NoError(t, err)
	defer inner.Rollback()
	foreign, err := db.Begin()
	require.NoError(t, err)
	defer foreign.Rollback()
	s := as(t, nogap.Postgres)
	ctx, _ := holding.Begin(t.Context(), db, outer, s, true, []holding.Lock{one})
	ctx, _ = holding.Begin(ctx, db, inner, s, true, []holding.Lock{two})
	require.ErrorIs(t, holding.CheckIn(ctx, inner, true, one), holding.ErrHeld)
	require.NoError(t, holding.CheckIn(ctx, inner, true, two))
	require.ErrorIs(t, holding.CheckIn(ctx, outer, true, two), holding.ErrHeld)
	require.NoError(t, holding.CheckIn(ctx, foreign, true, one), "whose it is nobody knows")

	known, server, ok := holding.Known(ctx, outer)
	require.True(t, ok)
	require.Same(t, db, known)
	require.Equal(t, nogap.Postgres, server.Dialect)
	_, _, ok = holding.Known(ctx, foreign)
	require.False(t, ok)
}
