package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// endedError looks like a *pgconn.PgError with which the server has ended the session.
type endedError struct{ Severity, code, Routine string }

func (e *endedError) Error() string    { return e.Severity + " " + e.code }
func (e *endedError) SQLState() string { return e.code }

// A session that was ended before any row came has written nothing, if a row comes for all that is written.
func TestSessionEndsBeforeARow(t *testing.T) {
	interrupted := &endedError{"FATAL", "57P01", "ProcessInterrupts"}
	elsewhere := &endedError{"FATAL", "57P01", "f"}
	queryRow := func(ctx context.Context, c *txn.Conn) error {
		var v int
		return c.QueryRow(ctx, "UPDATE", nil, &v)
	}
	for _, tt := range []struct {
		name    string
		returns bool
		run     func(context.Context, *txn.Conn) error
		reply   fakedb.Reply
		err     error
		unknown bool
	}{
		{"before any answer", true, queryRow, fakedb.Reply{}, interrupted, false},
		{"before a row", true, queryRow, fakedb.Reply{Columns: []string{"v"}, Err: interrupted}, nil, false},
		{"after a row", true, queryRow, withErr(interrupted), nil, true},
		{"by another routine", true, queryRow, fakedb.Reply{}, elsewhere, true},
		{"without a message", true, queryRow, fakedb.Reply{}, errDriver, true},
		{"a trigger may drop rows", false, queryRow, fakedb.Reply{}, interrupted, true},
		{"no row is asked for", true, func(ctx context.Context, c *txn.Conn) error {
			_, err := c.Exec(ctx, "UPDATE")
			return err
		}, fakedb.Reply{}, interrupted, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dead := false
			handle := func(_ context.Context, call fakedb.Call) (fakedb.Reply, error) {
				if call.Query != "UPDATE" && !dead {
					return fakedb.Reply{}, nil
				}
				if dead {
					return fakedb.Reply{}, errDriver
				}
				dead = true
				return tt.reply, tt.err
			}
			serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
				c := acquire(t, db)
				defer c.Close()
				if tt.returns {
					c.Returns()
				}
				err := tt.run(t.Context(), c)
				require.Error(t, err)
				require.Equal(t, tt.unknown, errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
				require.True(t, tt.err == nil || errors.Is(err, tt.err))
				dead = false
			})
		})
	}
}
