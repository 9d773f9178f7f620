package table_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// A transaction of another *sql.DB may be that of another server: what it says of that is used for the call, and not kept
// for the pool.
func TestForeignTransaction(t *testing.T) {
	server := func(version string) func(context.Context, fakedb.Call) (fakedb.Reply, error) {
		return func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(version), nil }
	}
	ours, theirs := fakedb.Open(server("PostgreSQL 15.1")), fakedb.Open(server("8.0.36"))
	defer ours.Close()
	defer theirs.Close()
	bound, err := table.Bind(ours, "items", table.Options{})
	require.NoError(t, err)
	var q table.SQL[dialect.Server]
	of := func(b *table.Table) nogap.Dialect {
		s, err := q.Of(t.Context(), b, func(_ context.Context, _ txn.Runner, s dialect.Server, _ dialect.Look) (*dialect.Server, error) {
			return &s, nil
		})
		require.NoError(t, err)
		return s.Dialect
	}
	foreign, err := theirs.Begin()
	require.NoError(t, err)
	defer foreign.Rollback()
	own, err := ours.Begin()
	require.NoError(t, err)
	defer own.Rollback()

	require.Equal(t, nogap.MySQL, of(bound.In(foreign)))
	require.Equal(t, nogap.MySQL, of(bound.In(&sqlx.Tx{Tx: foreign})))
	require.Nil(t, q.Built())
	require.Equal(t, nogap.Postgres, of(bound.In(&sqlx.Tx{Tx: own})))
	require.NotNil(t, q.Built(), "a transaction of the pool's own speaks for it")
	require.Equal(t, nogap.Postgres, of(bound))
	require.Equal(t, nogap.MySQL, of(bound.In(foreign)))
}

// A connection may be in autocommit, so what became of a statement is as unknown there as on the pool.
func TestConnectionWithoutTransaction(t *testing.T) {
	lost := errors.New("unexpected EOF")
	db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Exec {
			return fakedb.Reply{}, lost
		}
		return fakedb.Reply{}, nil
	})
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = txn.In(conn).Exec(t.Context(), "UPDATE")
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	require.ErrorIs(t, err, lost)
	require.ErrorIs(t, txn.In(conn).Applied(lost), nogap.ErrOutcomeUnknown)

	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = txn.In(tx).Exec(t.Context(), "UPDATE")
	require.ErrorIs(t, err, lost)
	require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, "nothing stands before COMMIT")
}
