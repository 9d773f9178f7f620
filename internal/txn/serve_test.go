package txn_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
)

// serve runs a test in a bubble of its own time, with a pool on a recorded server that answers everything except what
// handle takes over. In the end no goroutine and no connection may be left, and no transaction open in the pool.
func serve(t *testing.T, handle fakedb.Handler, test func(t *testing.T, server *fakedb.Server, db *sql.DB)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := fakedb.Recorded(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if handle != nil {
				if r, err := handle(ctx, c); err != nil || r.Columns != nil || r.RowsAffected != 0 {
					return r, err
				}
			}
			return fakedb.Row(int64(1)), nil
		})
		db := server.DB()
		defer db.Close()
		test(t, server, db)
		synctest.Wait()
		require.Zero(t, db.Stats().InUse)
		require.Zero(t, server.Dirty())
		require.NoError(t, db.Close())
		require.Zero(t, server.OpenConns())
	})
}

// on has f answer the calls of a kind.
func on(kind fakedb.Kind, f func(ctx context.Context) error) fakedb.Handler {
	return func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == kind {
			return fakedb.Reply{}, f(ctx)
		}
		return fakedb.Reply{}, nil
	}
}

// failing answers the calls of a kind with err.
func failing(kind fakedb.Kind, err error) fakedb.Handler {
	return on(kind, func(context.Context) error { return err })
}

// failingThenHung answers the calls of a kind with err, and the query not at all.
func failingThenHung(kind fakedb.Kind, err error, query string) fakedb.Handler {
	return func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Query == query {
			<-ctx.Done()
			return fakedb.Reply{}, ctx.Err()
		}
		return failing(kind, err)(ctx, c)
	}
}

func insert(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT")
	return err
}
