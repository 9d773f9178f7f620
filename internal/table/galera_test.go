package table_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// On a Galera cluster, with a driver that prepares, single statements on the pool are sent, and what needs a transaction is
// refused before its first statement.
func TestGaleraAndADriverThatPrepares(t *testing.T) {
	server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch c.Query {
		case "SELECT version()":
			return fakedb.Row("10.11.6-MariaDB"), nil
		case "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'":
			return fakedb.Row("wsrep_on", "ON"), nil
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
	server.Prepares = true
	db := server.DB()
	defer db.Close()
	ctx, items := t.Context(), bind(t, db)
	var q table.SQL[dialect.Server]
	of := func(bound *table.Table) error {
		_, err := q.Of(ctx, bound, func(_ context.Context, _ txn.Runner, s dialect.Server, _ dialect.Look) (*dialect.Server, error) {
			return &s, nil
		})
		return err
	}
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	const refused = "interpolateParams=true"
	require.ErrorContains(t, of(items.In(tx)), refused, "before it is built")
	require.NoError(t, of(items))
	require.ErrorContains(t, of(items.In(tx)), refused, "when it is built")
	require.ErrorContains(t, items.Transaction(ctx, nil, exec(ctx, "UPDATE")), refused)
	require.NotContains(t, server.Log(), "UPDATE")

	require.NoError(t, items.Statement(ctx, nil, exec(ctx, "UPDATE")))
	require.NoError(t, items.LockAndWrite(ctx, nil, exec(ctx, "LOCK")))
	require.NoError(t, items.LockAndWriteOnce(ctx, exec(ctx, "LOCK")))
	require.Equal(t, []string{"UPDATE", "BEGIN", "LOCK", "COMMIT", "BEGIN", "LOCK", "COMMIT"}, server.Log()[5:])
}
