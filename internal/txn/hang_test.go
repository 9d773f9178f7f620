package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

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
			require.Equal(t, []string{"BEGIN", "ROLLBACK"}, server.Log(), "that the driver has noticed does not tell that the server has not begun")
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
