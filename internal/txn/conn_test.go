package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

func acquire(t *testing.T, db *sql.DB) *txn.Conn {
	t.Helper()
	c, err := txn.Acquire(t.Context(), db)
	require.NoError(t, err)
	return c
}

func TestConnQueryRow(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reply   fakedb.Reply
		want    error
		unknown bool
	}{
		{name: "one row", reply: fakedb.Row(int64(7))},
		{name: "no row", reply: fakedb.Reply{Columns: []string{"v"}}, want: sql.ErrNoRows},
		{name: "no row, and an error", reply: fakedb.Reply{Columns: []string{"v"}, Err: &pgError{"ERROR", "23514"}}, want: &pgError{}},
		{name: "a row, then a deferred constraint", reply: withErr(&pgError{"ERROR", "23505"}), want: &pgError{}},
		{name: "a row, then the end of the session", reply: withErr(&pgError{"FATAL", "57P01"}), want: &pgError{}, unknown: true},
		{name: "a row, then the end of the connection", reply: withErr(driver.ErrBadConn), want: driver.ErrBadConn, unknown: true},
		{name: "a row that the driver cannot read", reply: withErr(errDriver), want: errDriver, unknown: true},
		{name: "a row that does not fit", reply: fakedb.Row("seven"), unknown: true},
		{name: "a row too wide", reply: fakedb.Row(int64(7), int64(8)), unknown: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			handle := func(context.Context, fakedb.Call) (fakedb.Reply, error) { return tt.reply, nil }
			serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
				c := acquire(t, db)
				defer c.Close()
				var v int
				err := c.QueryRow(t.Context(), "UPDATE", nil, &v)
				var pg *pgError
				switch {
				case tt.want == nil && !tt.unknown:
					require.NoError(t, err)
					require.Equal(t, 7, v)
				case errors.As(tt.want, &pg):
					require.ErrorAs(t, err, &pg)
				case tt.want != nil:
					require.ErrorIs(t, err, tt.want)
				}
				require.Equal(t, tt.unknown, errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
				require.Equal(t, []string{"UPDATE"}, server.Log())
			})
		})
	}
}

func withErr(err error) fakedb.Reply {
	r := fakedb.Row(int64(7))
	r.Err = err
	return r
}

func TestConnContextHasEnded(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		c := acquire(t, db)
		defer c.Close()
		cancel()
		_, err := c.Exec(ctx, "UPDATE")
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		err = c.QueryRow(ctx, "UPDATE", nil)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, c.Read(ctx, "SELECT", nil), context.Canceled)
		_, err = txn.Acquire(ctx, db)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, server.Log())
	})
}

// A server that says something else than the context's error, because it was told to cancel, is definite, and the
// context's error is there too.
func TestConnCanceledByTheServer(t *testing.T) {
	handle := on(fakedb.Exec, func(ctx context.Context) error {
		<-ctx.Done()
		return &pgError{"ERROR", "57014"}
	})
	serve(t, handle, func(t *testing.T, _ *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := acquire(t, db)
		defer c.Close()
		_, err := c.Exec(ctx, "UPDATE")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		var pg *pgError
		require.ErrorAs(t, err, &pg)
	})
}

// Rows that database/sql closes when the context ends may be those of a statement that was applied.
func TestConnContextEndsWhileReading(t *testing.T) {
	handle := func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind != fakedb.Query {
			return fakedb.Reply{}, nil
		}
		r := fakedb.Row(int64(1))
		r.Err = context.Canceled
		return r, nil
	}
	serve(t, handle, func(t *testing.T, _ *fakedb.Server, db *sql.DB) {
		c := acquire(t, db)
		defer c.Close()
		var v int
		err := c.QueryRow(t.Context(), "UPDATE", nil, &v)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestConnReadIsRepeated(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		again bool
	}{
		{"dead connection", driver.ErrBadConn, true},
		{"terminated while idle", &pgError{"FATAL", "57P01"}, true},
		{"driver fails on a live connection", errDriver, false},
		{"server refuses", &pgError{"ERROR", "42P01"}, false},
		{"driver's time limit", context.DeadlineExceeded, false},
	} {
		for _, late := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				failed := false
				handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Query != "SELECT" || failed {
						return fakedb.Reply{}, nil
					}
					failed = true
					if late {
						return fakedb.Reply{Columns: []string{"v"}, Err: tt.err}, nil
					}
					return fakedb.Reply{}, tt.err
				}
				serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					c := acquire(t, db)
					defer func() { require.NoError(t, c.Close()) }()
					var v int
					err := c.Read(t.Context(), "SELECT", nil, &v)
					if tt.again {
						require.NoError(t, err)
						require.Equal(t, 1, v)
						require.Equal(t, []string{"SELECT", "SELECT"}, server.Log())
					} else {
						require.ErrorIs(t, err, tt.err)
						require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
					}
					require.Equal(t, 1, db.Stats().InUse)
				})
			})
		}
	}
}

func TestConnReadNoRow(t *testing.T) {
	handle := func(context.Context, fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Reply{Columns: []string{"v"}}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		c := acquire(t, db)
		defer c.Close()
		var v int
		require.ErrorIs(t, c.Read(t.Context(), "SELECT", nil, &v), sql.ErrNoRows)
		require.Equal(t, []string{"SELECT"}, server.Log(), "asked once")
	})
}

// A pool of one connection can be replaced too: the dead one is given up before the new one is asked for.
func TestConnReconnectsInAPoolOfOne(t *testing.T) {
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Exec && c.Conn == 1 {
			return fakedb.Reply{}, driver.ErrBadConn
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		db.SetMaxOpenConns(1)
		c := acquire(t, db)
		_, err := c.Exec(t.Context(), "UPDATE")
		require.NoError(t, err)
		require.Equal(t, 1, server.OpenConns())
		require.NoError(t, c.Close())
		require.Zero(t, db.Stats().InUse)
	})
}

func TestConnCannotReconnect(t *testing.T) {
	errRefused := errors.New("connection refused")
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind == fakedb.Connect && c.Conn > 1:
			return fakedb.Reply{}, errRefused
		case c.Kind == fakedb.Exec:
			return fakedb.Reply{}, driver.ErrBadConn
		}
		return fakedb.Reply{}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		c := acquire(t, db)
		_, err := c.Exec(t.Context(), "UPDATE")
		require.ErrorIs(t, err, errRefused)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, c.Close(), sql.ErrConnDone)
		require.Zero(t, db.Stats().InUse)
	})
}

// A connection that has stopped answering isn't handed to the next user.
func TestConnHungProbe(t *testing.T) {
	serve(t, failingThenHung(fakedb.Exec, errDriver, "SELECT 1"), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		c := acquire(t, db)
		start := time.Now()
		_, err := c.Exec(t.Context(), "UPDATE")
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 2*time.Second, time.Since(start))
		c.Close()
		require.Zero(t, server.OpenConns())
	})
}

// A value that database/sql cannot pass on never leaves the program.
func TestConnValueOfNoUse(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		c := acquire(t, db)
		defer c.Close()
		_, err := c.Exec(t.Context(), "UPDATE", make(chan int))
		require.ErrorContains(t, err, "unsupported type")
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.NotContains(t, server.Log(), "UPDATE")
	})
}

func TestConnPoolIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
		require.NoError(t, db.Close())
		_, err := txn.Acquire(t.Context(), db)
		require.Error(t, err)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Error(t, txn.Do(t.Context(), db, nil, insert))
	})
}

func TestIn(t *testing.T) {
	fail := error(nil)
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch c.Kind {
		case fakedb.Exec:
			return fakedb.Reply{RowsAffected: 3}, fail
		case fakedb.Query:
			r := fakedb.Row(int64(5))
			if c.Query == "NO ROW" {
				r.Rows = nil
			}
			r.Err = fail
			return r, nil
		}
		return fakedb.Reply{}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		run := txn.In(tx)
		res, err := run.Exec(ctx, "UPDATE")
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
		var v int
		require.NoError(t, run.QueryRow(ctx, "UPDATE", nil, &v))
		require.Equal(t, 5, v)
		require.ErrorIs(t, run.Read(ctx, "NO ROW", nil, &v), sql.ErrNoRows)
		var d time.Duration
		require.Error(t, run.QueryRow(ctx, "UPDATE", nil, &d, &d))

		// The outcome is that of the COMMIT, which is not this one's.
		sent := len(server.Log())
		fail = errors.New("lost")
		_, err = run.Exec(ctx, "UPDATE")
		require.ErrorIs(t, err, fail)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		err = run.QueryRow(ctx, "UPDATE", nil, &v)
		require.ErrorIs(t, err, fail)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Len(t, server.Log(), sent+2, "each was sent once")
		cancel()
		_, err = run.Exec(ctx, "UPDATE")
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestJoinContext(t *testing.T) {
	live, cancel := context.WithCancel(t.Context())
	ended, end := context.WithCancel(t.Context())
	defer cancel()
	end()
	errOther := errors.New("driver: bad connection")
	require.NoError(t, txn.JoinContext(ended, nil))
	require.True(t, txn.JoinContext(live, errOther) == errOther)
	require.True(t, txn.JoinContext(ended, context.Canceled) == context.Canceled)
	err := txn.JoinContext(ended, errOther)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errOther)

	// The deadline of a connection may be noticed before the same one of the context.
	err = txn.JoinContext(lateContext{live, time.Now().Add(-time.Nanosecond)}, errOther)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, errOther)
	require.True(t, txn.JoinContext(lateContext{live, time.Now().Add(time.Hour)}, errOther) == errOther)
}

// lateContext has a deadline and has not found out yet whether it is over.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// stalePlan has the shape of pgx's error for a statement whose table was altered.
type stalePlan struct{ Routine string }

func (e *stalePlan) Error() string    { return "cached plan must not change result type" }
func (e *stalePlan) SQLState() string { return "0A000" }

// A statement that a driver has prepared before its table was altered is run again, once, on the same connection.
func TestConnStalePlan(t *testing.T) {
	for name, tt := range map[string]struct {
		late bool // the error comes with the rows
		run  func(context.Context, *txn.Conn) error
	}{
		"Exec": {false, func(ctx context.Context, c *txn.Conn) error {
			_, err := c.Exec(ctx, "UPDATE")
			return err
		}},
		"QueryRow": {false, func(ctx context.Context, c *txn.Conn) error { return c.QueryRow(ctx, "UPDATE", nil, new(int)) }},
		"rows":     {true, func(ctx context.Context, c *txn.Conn) error { return c.QueryRow(ctx, "UPDATE", nil, new(int)) }},
		"Read":     {true, func(ctx context.Context, c *txn.Conn) error { return c.Read(ctx, "SELECT", nil, new(int)) }},
	} {
		for failures, works := range map[int]bool{1: true, 2: false} {
			t.Run(name, func(t *testing.T) {
				left := failures
				handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Query == "" {
						return fakedb.Reply{}, nil
					}
					if left--; left < 0 {
						return fakedb.Row(int64(1)), nil
					}
					err := &stalePlan{"RevalidateCachedQuery"}
					if tt.late {
						return fakedb.Reply{Columns: []string{"v"}, Err: err}, nil
					}
					return fakedb.Reply{}, err
				}
				serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					c := acquire(t, db)
					defer func() { require.NoError(t, c.Close()) }()
					err := tt.run(t.Context(), c)
					require.Equal(t, works, err == nil, err)
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
					require.Len(t, server.Log(), 2)
				})
			})
		}
	}
}
