package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
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
		for _, result := range []error{nil, errCallback} {
			t.Run(tt.name, func(t *testing.T) {
				serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
						require.NoError(t, tt.end(tx))
						return result
					})
					if result == nil {
						require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
					} else {
						require.ErrorIs(t, err, result)
					}
					require.Equal(t, []string{"BEGIN", tt.want}, server.Log())
					require.Zero(t, db.Stats().InUse)
				})
			})
		}
	}
}

func TestDoHungCommit(t *testing.T) {
	for _, late := range []error{nil, driver.ErrBadConn, errDriver, &pgError{"ERROR", "40001"}} {
		var release chan struct{} // made in the bubble
		handle := on(fakedb.Commit, func(context.Context) error {
			<-release
			return late
		})
		serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
			release = make(chan struct{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			err := txn.Do(ctx, db, nil, insert)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Minute+time.Second, time.Since(start))
			require.Equal(t, 1, db.Stats().InUse, "the driver still has it")

			close(release)
			synctest.Wait()
			require.Zero(t, db.Stats().InUse)
			require.ErrorIs(t, txn.Do(t.Context(), db, nil, func(*sql.Tx) error { return errCallback }), errCallback)
		})
	}
}

// An answer to COMMIT that comes after the context's end, but within the grace, is the outcome.
func TestDoSlowCommit(t *testing.T) {
	for _, late := range []error{nil, &pgError{"ERROR", "40001"}} {
		handle := on(fakedb.Commit, func(context.Context) error {
			time.Sleep(1900 * time.Millisecond) // of the bubble: the context's second, and not quite one more
			return late
		})
		serve(t, handle, func(t *testing.T, _ *fakedb.Server, db *sql.DB) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := txn.Do(ctx, db, nil, insert)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			if late == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, late)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			require.Zero(t, db.Stats().InUse)
		})
	}
}

// A driver that watches the context of BEGIN, as pgx does, has a COMMIT cut short only when the grace is over.
func TestDoCommitIsCutShortAfterTheGrace(t *testing.T) {
	handle := on(fakedb.Commit, func(ctx context.Context) error {
		<-ctx.Done()
		return driver.ErrBadConn
	})
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, txn.Do(ctx, db, nil, insert), nogap.ErrOutcomeUnknown)
		require.Equal(t, 2*time.Second, time.Since(start))
		synctest.Wait()
		require.Zero(t, db.Stats().InUse)
		require.Zero(t, server.OpenConns())
	})
}

func TestDoHungRollback(t *testing.T) {
	var release chan struct{} // made in the bubble
	handle := on(fakedb.Rollback, func(context.Context) error {
		<-release
		return nil
	})
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		release = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		err := txn.Do(ctx, db, nil, func(*sql.Tx) error { return errCallback })
		require.ErrorIs(t, err, errCallback)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		close(release)
		synctest.Wait()
		require.Zero(t, db.Stats().InUse)
	})
}

func TestDoContextEndsInBegin(t *testing.T) {
	t.Run("the driver notices", func(t *testing.T) {
		handle := on(fakedb.Begin, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := txn.Do(ctx, db, nil, insert)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.Equal(t, []string{"BEGIN"}, server.Log())
			require.Zero(t, db.Stats().InUse)
		})
	})
	t.Run("the driver does not", func(t *testing.T) {
		handle := on(fakedb.Begin, func(context.Context) error {
			time.Sleep(2 * time.Second) // of the bubble: a second longer than the context
			return nil
		})
		serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, txn.Do(ctx, db, nil, insert), context.DeadlineExceeded)
			synctest.Wait()
			require.NotContains(t, server.Log(), "INSERT")
			require.Zero(t, db.Stats().InUse)
		})
	})
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
	const idle = 20
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
		require.True(t, txn.Retryable(err))
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

// A connection that does not answer after a failed COMMIT holds nobody up beyond the grace.
func TestDoHungProbe(t *testing.T) {
	serve(t, failingThenHung(fakedb.Commit, errDriver, "ROLLBACK"), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		start := time.Now()
		err := txn.Do(t.Context(), db, nil, insert)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, err, errDriver)
		require.Equal(t, 2*time.Second, time.Since(start))
		require.Zero(t, server.OpenConns())
	})
}

// What is undone behind a COMMIT may hang, and does not make its outcome unknown.
func TestDoHungAfter(t *testing.T) {
	for _, want := range []error{nil, errLost} {
		serve(t, failingThenHung(fakedb.Commit, want, "UNDO"), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := txn.DoWith(ctx, db, txn.Options{After: func(ctx context.Context, c *sql.Conn) error {
				_, err := c.ExecContext(ctx, "UNDO")
				return err
			}}, insert)
			require.Equal(t, 1500*time.Millisecond, time.Since(start))
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			if want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, want)
			}
			time.Sleep(time.Second) // of the bubble, in which UNDO is given up
			synctest.Wait()
			require.Zero(t, server.OpenConns(), "what could not be undone is not handed on")
		})
	}
}
