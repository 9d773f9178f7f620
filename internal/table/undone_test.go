package table_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/table"
)

var (
	errNoTable  = &MySQLError{1146, "no such table"}
	errNoRight  = &MySQLError{1142, "SELECT command denied"}
	errCanceled = &MySQLError{1317, "query execution was interrupted"}
	errLost     = errors.New("unexpected EOF")
)

// A look in the caller's transaction that fails hands its error up: after a deadlock the transaction is gone, and what follows
// would be committed by itself. Only that the table is not there, or must not be seen, is left to the statement to come.
func TestLookThatFailsInATransaction(t *testing.T) {
	for name, tt := range map[string]struct {
		err                  error
		handedUp, again, tmo bool
	}{
		"deadlock":        {err: errDeadlock, handedUp: true, again: true},
		"lock timeout":    {err: errLockWait, handedUp: true, tmo: true},
		"interrupted":     {err: errCanceled, handedUp: true},
		"lost connection": {err: errLost, handedUp: true},
		"no table":        {err: errNoTable},
		"no right":        {err: errNoRight},
	} {
		for _, statement := range []string{"SHOW CREATE TABLE", "SELECT CASE WHEN @@sql_mode"} {
			l := newLooked()
			looks, fails := l.Looks, true
			l.Looks = func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if fails && (strings.HasPrefix(c.Query, statement) || tt.err == errLost && strings.HasPrefix(c.Query, "SHOW")) {
					return fakedb.Reply{}, tt.err
				}
				return looks(ctx, c)
			}
			db := l.DB()
			defer db.Close()
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			bound := bind(t, db).In(tx)
			var q table.SQL[dialect.Look]
			look, err := of(t, &q, bound)
			if !tt.handedUp && statement == "SHOW CREATE TABLE" {
				require.NoError(t, err, name)
				require.False(t, look.Listed, name)
			} else {
				require.ErrorIs(t, err, tt.err, name)
				require.Equal(t, tt.again, nogap.Retryable(err), name)
				require.Equal(t, tt.tmo, errors.Is(err, nogap.ErrLockTimeout), name)
			}
			require.Nil(t, q.Built(), name)
			fails = false
			look, err = of(t, &q, bound)
			require.NoError(t, err, name)
			require.True(t, look.Listed, "it is asked again after %s", name)
		}
	}
}

// On SQLite the write lock comes before the look. If it was interrupted, SQLite may have rolled back.
func TestWriteLockThatFailsBeforeTheLook(t *testing.T) {
	interrupted := errors.New("interrupted")
	server := fakedb.New(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Exec {
			return fakedb.Reply{}, interrupted
		}
		return fakedb.Reply{}, nil
	})
	db := server.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	bound, err := table.Bind(db, "items", table.Options{Dialect: nogap.SQLite})
	require.NoError(t, err)
	var q table.SQL[dialect.Look]
	_, err = of(t, &q, bound.In(tx))
	require.ErrorIs(t, err, interrupted)
	require.Nil(t, q.Built())
}
