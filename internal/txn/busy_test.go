package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/sqlerr/sqlerrtest/sqlite"
	"github.com/nogap-go/nogap/internal/txn"
)

// SQLite's busy_timeout is how long the caller is willing to wait, in all attempts together.
func TestBusyTimeout(t *testing.T) {
	const statement = "STATEMENT"
	type does = func(ctx context.Context, t *testing.T, db *sql.DB) error
	inConn := func(do func(ctx context.Context, c *txn.Conn) error) does {
		return func(ctx context.Context, t *testing.T, db *sql.DB) error {
			c := acquireSQLite(t, db)
			defer c.Close()
			return do(ctx, c)
		}
	}
	do := func(ctx context.Context, _ *testing.T, db *sql.DB) error { return txn.Do(ctx, db, nil, insert) }
	exec := func(ctx context.Context, c *txn.Conn) error {
		_, err := c.Exec(ctx, statement)
		return err
	}
	for name, tt := range map[string]struct {
		fails string // what is busy
		do    does
	}{
		"write lock":       {"BEGIN IMMEDIATE", inConn(exec)},
		"COMMIT":           {"COMMIT", inConn(exec)},
		"statement alone":  {statement, inConn(func(_ context.Context, c *txn.Conn) error { return exec(context.Background(), c) })},
		"read":             {statement, inConn(func(ctx context.Context, c *txn.Conn) error { return c.Read(ctx, statement, nil) })},
		"BEGIN":            {"BEGIN", do},
		"in a callback":    {"INSERT", do},
		"transaction ends": {"COMMIT", do},
	} {
		for _, busy := range []struct {
			name            string
			code            int
			patience, after time.Duration
			timeout         bool
		}{
			{"waited for", 5, time.Second, time.Second, true},
			{"refused at once", 5, time.Second, 0, false},
			{"no patience", 5, 0, time.Second, false},
			{"a stale snapshot", 517, time.Second, time.Second, false},
			{"recovery", 261, time.Second, time.Second, false},
			{"locked", 6, time.Second, time.Second, false},
			{"locked in a shared cache", 262, time.Second, time.Second, false},
		} {
			t.Run(name+"/"+busy.name, func(t *testing.T) {
				handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					switch {
					case c.Query == "PRAGMA busy_timeout":
						return fakedb.Row(busy.patience.Milliseconds()), nil
					case c.String() == tt.fails:
						time.Sleep(busy.after) // of the bubble
						return fakedb.Reply{}, &sqlite.Coded{C: busy.code}
					}
					return fakedb.Reply{}, nil
				}
				serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					err := tt.do(t.Context(), t, db)
					require.ErrorAs(t, err, new(*sqlite.Coded))
					require.Equal(t, busy.timeout, errors.Is(err, nogap.ErrLockTimeout), "%v", err)
					require.Equal(t, !busy.timeout, nogap.Retryable(err))
				})
			})
		}
	}
}

// Whoever bounds the wait for the write lock itself has made the busy_timeout another one.
func TestBusyTimeoutOfTheCaller(t *testing.T) {
	serve(t, failing(fakedb.Commit, &sqlite.Coded{C: 5}), func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		err := txn.DoWith(t.Context(), db, txn.Options{Waits: true}, insert)
		require.True(t, nogap.Retryable(err), "%v", err)
		require.NotContains(t, server.Log(), "PRAGMA busy_timeout")
	})
}
