package txn_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// notReady is what a Galera node outside the primary component answers to everything, ROLLBACK and COMMIT included. The
// transaction stays open.
var notReady = &MySQLError{Number: 1047, Message: "WSREP has not yet prepared node for application use"}

// No connection whose ROLLBACK was refused comes back to the pool, whoever sent it: the next caller would write in the
// transaction.
func TestRefusedRollbackEndsTheConnection(t *testing.T) {
	commit := func(ctx context.Context, db *sql.DB) error { return txn.Do(ctx, db, nil, insert) }
	inCallback := func(result error, end func(*sql.Tx) error) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
				if err := insert(tx); err != nil {
					return err
				}
				end(tx)
				return result
			})
		}
	}
	for _, tt := range []struct {
		name    string
		refuses []string // from the first of these on everything is refused
		run     func(ctx context.Context, db *sql.DB) error
		unknown bool
	}{
		{"a statement", []string{"INSERT"}, commit, false},
		{"COMMIT", []string{"COMMIT"}, commit, false},
		{"ROLLBACK", []string{"ROLLBACK"}, inCallback(errCallback, func(*sql.Tx) error { return nil }), false},
		{"the callback's COMMIT", []string{"COMMIT"}, inCallback(nil, (*sql.Tx).Commit), true},
		{"the callback's COMMIT, and it fails", []string{"COMMIT"}, inCallback(errCallback, (*sql.Tx).Commit), false},
		{"the callback's ROLLBACK", []string{"ROLLBACK"}, inCallback(nil, (*sql.Tx).Rollback), true},
		{"the callback's ROLLBACK, and it fails", []string{"ROLLBACK"}, inCallback(errCallback, (*sql.Tx).Rollback), false},
		{"a savepoint", []string{"INSERT"}, func(ctx context.Context, db *sql.DB) error {
			return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
				return txn.Savepoint(ctx, txn.In(tx), func(txn.Runner) error { return insert(tx) })
			})
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left := map[int]bool{} // the connections whose node has left the primary component
			open := map[int]bool{}
			handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				switch {
				case c.Kind == fakedb.Close, c.Kind == fakedb.Connect:
					return fakedb.Reply{}, nil
				case left[c.Conn] || len(left) == 0 && c.String() == tt.refuses[0]:
					left[c.Conn] = true
					return fakedb.Reply{}, notReady
				case c.Kind == fakedb.Begin:
					open[c.Conn] = true
				case c.Kind == fakedb.Commit, c.String() == "ROLLBACK":
					open[c.Conn] = false
				}
				return fakedb.Reply{RowsAffected: 1}, nil
			}
			serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
				err := tt.run(t.Context(), db)
				require.Error(t, err)
				if tt.unknown {
					require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
				} else {
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				}
				require.True(t, left[1] && open[1], "the server has kept the transaction")
				require.Zero(t, server.OpenConns())
				require.NoError(t, commit(t.Context(), db))
				require.Zero(t, server.Dirty())
			})
		})
	}
}

// The context ends while BEGIN is on its way, and the rollback, which database/sql does from another goroutine and of whose
// outcome it says nothing, is refused.
func TestRefusedRollbackOfALateBegin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind == fakedb.Begin && c.Conn == 1:
			cancel()
		case c.String() == "ROLLBACK" && c.Conn == 1:
			return fakedb.Reply{}, notReady
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		require.ErrorIs(t, txn.Do(ctx, db, nil, insert), context.Canceled)
		require.NoError(t, txn.Do(t.Context(), db, nil, insert))
		require.Zero(t, server.Dirty())
		require.Equal(t, 1, server.OpenConns())
	})
}

// mattn's driver answers BEGIN with the error of a context that has ended meanwhile although the transaction is open.
func TestBeginThatFailedMayStand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	open := false
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind == fakedb.Begin && ctx.Err() == nil:
			cancel()
			open = true
			return fakedb.Reply{}, ctx.Err()
		case c.String() == "ROLLBACK":
			open = false
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		require.ErrorIs(t, txn.Do(ctx, db, nil, insert), context.Canceled)
		require.False(t, open)
		require.Equal(t, 1, server.OpenConns(), "a connection that has rolled back is used again")
	})
}
