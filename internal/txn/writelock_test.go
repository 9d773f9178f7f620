package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/sqlerr/sqlerrtest/sqlite"
	"github.com/nogap-go/nogap/internal/txn"
)

// acquireSQLite is acquire for a database that is said to be SQLite.
func acquireSQLite(t *testing.T, db *sql.DB) *txn.Conn {
	t.Helper()
	source, err := dialect.NewSource(db, nogap.SQLite)
	require.NoError(t, err)
	c := acquire(t, db)
	c.Reaches(source)
	return c
}

func TestWriteLock(t *testing.T) {
	const begin, end, undo, patience = "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "PRAGMA busy_timeout"
	busy := &sqlite.Coded{C: 5}
	for _, tt := range []struct {
		name    string
		fail    string // the statement that fails
		err     error  // with this one
		ends    bool   // the context ends in it
		log     []string
		unknown bool
	}{
		{name: "applied", log: []string{begin, "UPDATE", end}},
		{name: "the lock is not free", fail: begin, err: busy, log: []string{begin, patience}},
		{name: "the context ends in the wait for the lock", fail: begin, err: context.Canceled, ends: true, log: []string{begin, undo}},
		{name: "the context ends when the lock is taken", fail: begin, ends: true, log: []string{begin, undo}},
		{name: "the context ends in the statement", fail: "UPDATE", ends: true, log: []string{begin, "UPDATE", end}},
		{name: "the context ends in COMMIT", fail: end, ends: true, log: []string{begin, "UPDATE", end}},
		{name: "the statement is refused", fail: "UPDATE", err: &sqlite.Coded{C: 275}, log: []string{begin, "UPDATE", undo}},
		{name: "the statement fails somehow", fail: "UPDATE", err: errDriver, log: []string{begin, "UPDATE", undo}},
		{name: "COMMIT is refused", fail: end, err: busy, log: []string{begin, "UPDATE", end, undo, patience}},
		{name: "COMMIT fails on a live connection", fail: end, err: errDriver, log: []string{begin, "UPDATE", end, undo}},
		{name: "COMMIT fails on a broken disk", fail: end, err: &sqlite.Coded{C: 10}, log: []string{begin, "UPDATE", end, undo}, unknown: true},
	} {
		for _, rows := range []bool{false, true} {
			name := tt.name
			if rows {
				name += ", returning"
			}
			t.Run(name, func(t *testing.T) {
				var cancel context.CancelFunc // made in the bubble
				handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Query != tt.fail {
						return fakedb.Reply{}, nil
					}
					if tt.ends {
						cancel()
					}
					return fakedb.Reply{}, tt.err
				}
				serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					var ctx context.Context
					ctx, cancel = context.WithCancel(t.Context())
					defer cancel()
					c := acquireSQLite(t, db)
					defer c.Close()
					var err error
					if rows {
						var n int
						err = c.QueryRow(ctx, "UPDATE", nil, &n)
					} else {
						_, err = c.Exec(ctx, "UPDATE")
					}
					require.Equal(t, tt.log, server.Log())
					committed := tt.log[len(tt.log)-1] == end
					require.Equal(t, committed, err == nil, "%v", err)
					if tt.err != nil {
						require.ErrorIs(t, err, tt.err)
					}
					if tt.ends && !committed {
						require.ErrorIs(t, err, context.Canceled)
					}
					require.Equal(t, tt.unknown, errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
				})
			})
		}
	}
}

// A context that can't end cuts nothing short, so the statement is sent alone. So is one to another server, and one to a server
// that nobody has asked yet.
func TestNoWriteLock(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		c := acquireSQLite(t, db)
		defer c.Close()
		_, err := c.Exec(context.Background(), "UPDATE")
		require.NoError(t, err)
		for _, told := range []nogap.Dialect{0, nogap.Postgres, nogap.MySQL, nogap.MariaDB} {
			source, err := dialect.NewSource(db, told)
			require.NoError(t, err)
			c.Reaches(source)
			_, err = c.Exec(t.Context(), "UPDATE")
			require.NoError(t, err)
		}
		require.Equal(t, []string{"UPDATE", "UPDATE", "UPDATE", "UPDATE", "UPDATE"}, server.Log())
	})
}

// A driver that panics in the statement leaves no transaction open in the pool.
func TestWriteLockPanic(t *testing.T) {
	handle := func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Query == "UPDATE" {
			panic("driver")
		}
		return fakedb.Reply{}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		source, err := dialect.NewSource(db, nogap.SQLite)
		require.NoError(t, err)
		require.PanicsWithValue(t, "driver", func() {
			txn.With(t.Context(), db, func(c *txn.Conn) error {
				c.Reaches(source)
				_, err := c.Exec(t.Context(), "UPDATE")
				return err
			})
		})
		require.NoError(t, txn.With(t.Context(), db, func(c *txn.Conn) error { return nil }))
	})
}
