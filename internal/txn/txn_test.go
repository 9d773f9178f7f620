package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

func TestDo(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		opts := &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true}
		require.NoError(t, txn.Do(t.Context(), db, opts, insert))
		require.Equal(t, []string{"BEGIN", "INSERT", "COMMIT"}, server.Log())
		begin := server.Calls()[1]
		require.Equal(t, driver.TxOptions{Isolation: driver.IsolationLevel(sql.LevelSerializable), ReadOnly: true}, begin.Tx)
		require.Equal(t, 1, server.OpenConns())
	})
}

func TestDoRollsBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		fn   func(ctx context.Context, cancel func(), tx *sql.Tx) error
		want []error
	}{
		{"error", func(context.Context, func(), *sql.Tx) error { return errCallback }, []error{errCallback}},
		{"error and canceled", func(_ context.Context, cancel func(), _ *sql.Tx) error {
			cancel()
			return errCallback
		}, []error{errCallback, context.Canceled}},
		{"canceled, but no error", func(_ context.Context, cancel func(), _ *sql.Tx) error {
			cancel()
			return nil
		}, []error{context.Canceled}},
		{"rows left open", func(ctx context.Context, _ func(), tx *sql.Tx) error {
			rows, err := tx.QueryContext(ctx, "SELECT")
			require.NoError(t, err)
			rows.Next()
			return errCallback
		}, []error{errCallback}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
					require.NoError(t, insert(tx))
					return tt.fn(ctx, cancel, tx)
				})
				for _, want := range tt.want {
					require.ErrorIs(t, err, want)
				}
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				log := server.Log()
				require.Equal(t, "ROLLBACK", log[len(log)-1])
				require.NotContains(t, log, "COMMIT")
				require.Zero(t, db.Stats().InUse)
				require.Equal(t, 1, server.OpenConns(), "the connection is still good")
			})
		})
	}
}

func TestDoReturnsTheCallbacksErrorAsItIs(t *testing.T) {
	serve(t, nil, func(t *testing.T, _ *fakedb.Server, db *sql.DB) {
		err := txn.Do(t.Context(), db, nil, func(*sql.Tx) error { return errCallback })
		require.True(t, err == errCallback, "not wrapped")
	})
}

func TestDoPanic(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		value := &struct{ int }{7}
		require.PanicsWithValue(t, value, func() {
			txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
				require.NoError(t, insert(tx))
				panic(value)
			})
		})
		require.Equal(t, []string{"BEGIN", "INSERT", "ROLLBACK"}, server.Log())
		require.Zero(t, db.Stats().InUse)
	})
}

func TestDoGoexit(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		returned := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			txn.Do(t.Context(), db, nil, func(*sql.Tx) error {
				runtime.Goexit()
				return nil
			})
			returned = true
		}()
		<-done
		require.False(t, returned)
		require.Equal(t, []string{"BEGIN", "ROLLBACK"}, server.Log())
		require.Zero(t, db.Stats().InUse)
	})
}

// Nobody but Do may end the transaction. Which way the callback did is not known, so the outcome isn't either.
func TestDoCallbackEndsTheTransaction(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*sql.Tx) error
		want string
	}{
		{"commits", (*sql.Tx).Commit, "COMMIT"},
		{"rolls back", (*sql.Tx).Rollback, "ROLLBACK"},
	} {
		for _, result := range []error{nil, errCallback, errLost} {
			t.Run(tt.name, func(t *testing.T) {
				serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
						require.NoError(t, tt.end(tx))
						return result
					})
					if result != errCallback {
						require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
						require.False(t, nogap.Retryable(err), "it could write twice")
					}
					if result != nil {
						require.ErrorIs(t, err, result)
					}
					require.Equal(t, []string{"BEGIN", tt.want, "ROLLBACK"}, server.Log(), "it may have been refused, too")
					require.Zero(t, db.Stats().InUse)
				})
			})
		}
	}
}

func TestDoContextHasEnded(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, txn.Do(ctx, db, nil, insert), context.Canceled)
		require.Empty(t, server.Log())
	})
}

// The wait for a connection ends with the context too.
func TestDoPoolIsUsedUp(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		db.SetMaxOpenConns(1)
		held, err := db.Conn(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, txn.Do(ctx, db, nil, insert), context.DeadlineExceeded)
		require.NoError(t, held.Close())
		require.NoError(t, txn.Do(t.Context(), db, nil, insert))
	})
}

// After a restart of the server every idle connection is dead. BEGIN goes through them until it gets a new one.
func TestDoAllIdleConnectionsAreDead(t *testing.T) {

	restarted := false
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if restarted && c.Conn <= idle && c.Kind != fakedb.Close {
			return fakedb.Reply{}, &pgError{"FATAL", "57P01"}
		}
		return fakedb.Reply{}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		db.SetMaxIdleConns(idle)
		var conns []*sql.Conn
		for range idle {
			c, err := db.Conn(t.Context())
			require.NoError(t, err)
			conns = append(conns, c)
		}
		for _, c := range conns {
			require.NoError(t, c.Close())
		}
		restarted = true
		require.NoError(t, txn.Do(t.Context(), db, nil, insert))
		require.Equal(t, 1, server.OpenConns())
	})
}

// A server that refuses every connection isn't asked for ever.
func TestDoGivesUpOnBegin(t *testing.T) {
	serve(t, failing(fakedb.Begin, driver.ErrBadConn), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		err := txn.Do(t.Context(), db, nil, insert)
		require.ErrorIs(t, err, driver.ErrBadConn)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, []string{"BEGIN", "BEGIN", "BEGIN"}, server.Log())
		require.Zero(t, server.OpenConns())
	})
}

// SQLite leaves the transaction open when COMMIT finds the database busy, and in memory the connection is the database:
// it is rolled back, not closed.
func TestDoBusyCommitKeepsTheConnection(t *testing.T) {
	busy := &pgError{"ERROR", "40001"}
	serve(t, failing(fakedb.Commit, busy), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		err := txn.Do(t.Context(), db, nil, insert)
		require.ErrorIs(t, err, busy)
		require.True(t, nogap.Retryable(err))
		require.Equal(t, []string{"BEGIN", "INSERT", "COMMIT", "ROLLBACK"}, server.Log())
		require.Equal(t, 1, server.OpenConns())
		require.Zero(t, db.Stats().InUse)
	})
}

// A driver's own word for a COMMIT that the server turned into a rollback, such as pgx.ErrTxCommitRollback, is definite
// because the connection still answers.
func TestDoCommitTurnedIntoRollback(t *testing.T) {
	errRolledBack := errors.New("commit unexpectedly resulted in rollback")
	serve(t, failing(fakedb.Commit, errRolledBack), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		err := txn.Do(t.Context(), db, nil, insert)
		require.ErrorIs(t, err, errRolledBack)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
	})
}
