package txn_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// writers write in autocommit.
var writers = map[string]func(ctx context.Context, c *txn.Conn) error{
	"Exec": func(ctx context.Context, c *txn.Conn) error {
		_, err := c.Exec(ctx, "UPDATE")
		return err
	},
	"QueryRow": func(ctx context.Context, c *txn.Conn) error {
		var n int
		return c.QueryRow(ctx, "UPDATE", nil, &n)
	},
}

// An answer that comes after the context's end, but within the grace, is the outcome.
func TestGrace(t *testing.T) {
	for name, write := range writers {
		for _, tt := range []struct {
			name    string
			late    time.Duration // after the end of the context
			err     error         // the server's
			took    time.Duration // beyond the end of the context
			unknown bool
		}{
			{name: "in time", late: 900 * time.Millisecond, took: 900 * time.Millisecond},
			{name: "refused in time", late: 900 * time.Millisecond, err: &pgError{"ERROR", "23514"}, took: 900 * time.Millisecond},
			{name: "too late", late: time.Hour, took: time.Second, unknown: true},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				handle := func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Query != "UPDATE" {
						return fakedb.Reply{}, nil
					}
					select {
					case <-time.After(time.Second + tt.late):
						return fakedb.Reply{}, tt.err
					case <-ctx.Done():
						return fakedb.Reply{}, ctx.Err()
					}
				}
				serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
					c := acquire(t, db)
					defer c.Close()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					start := time.Now()
					err := write(ctx, c)
					require.Equal(t, time.Second+tt.took, time.Since(start))
					if tt.err == nil && !tt.unknown {
						require.NoError(t, err)
						return
					}
					require.ErrorIs(t, err, context.DeadlineExceeded)
					if tt.unknown {
						require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
						return
					}
					require.ErrorIs(t, err, tt.err)
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				})
			})
		}
	}
}

// The statement gets the values of the context, and a read ends with it.
func TestGraceIsForWrites(t *testing.T) {
	type key struct{}
	handle := func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch c.Query {
		case "UPDATE":
			require.Equal(t, 7, ctx.Value(key{}))
		case "SELECT":
			<-ctx.Done()
			return fakedb.Reply{}, ctx.Err()
		}
		return fakedb.Reply{}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 7), time.Second)
		defer cancel()
		c, err := txn.Acquire(ctx, db)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Exec(ctx, "UPDATE")
		require.NoError(t, err)
		start := time.Now()
		require.ErrorIs(t, c.Read(ctx, "SELECT", nil), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}

// Nobody waits for the grace of a context that asks for none.
func TestImpatient(t *testing.T) {
	handle := on(fakedb.Exec, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		c := acquire(t, db)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Exec(txn.Impatient(ctx), "UPDATE")
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}
