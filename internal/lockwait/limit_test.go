package lockwait_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/lockwait"
)

// The second limit of a transaction leaves what was there before the first.
func TestLimit(t *testing.T) {
	const set = "set_config('lock_timeout', $1, true)"
	for d, test := range map[nogap.Dialect]struct {
		prefix string
		sent   []string
	}{
		nogap.Postgres: {"", []string{"SELECT current_setting('lock_timeout'), " + set, "SELECT current_setting('lock_timeout'), " + set,
			"SELECT " + set}},
		nogap.MariaDB: {"SET STATEMENT innodb_lock_wait_timeout = 2, max_statement_time = 1.500000 FOR ", nil},
		nogap.MySQL: {"", []string{
			"SET @nogap_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1",
			"SET SESSION innodb_lock_wait_timeout = 2",
			"SET SESSION innodb_lock_wait_timeout = @nogap_lock_wait_timeout",
		}},
		nogap.SQLite: {"", nil},
	} {
		server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row("0", "1"), nil })
		db := server.DB()
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		var u lockwait.Undos
		b, err := lockwait.Limit(t.Context(), db, s, 0, &u)
		require.NoError(t, err)
		if d == nogap.MariaDB {
			require.Equal(t, "SET STATEMENT innodb_lock_wait_timeout = 0 FOR ", b.Prefix)
		}
		b, err = lockwait.Limit(t.Context(), db, s, 1500*time.Millisecond, &u)
		require.NoError(t, err)
		require.Equal(t, test.prefix, b.Prefix)
		require.NoError(t, u.Undo(t.Context(), db))
		require.NoError(t, u.Undo(t.Context(), db), "there is nothing left to undo")
		require.Equal(t, test.sent, server.Log())
		require.NoError(t, db.Close())
	}
}

// A wait that is longer than a server can be told is not a short one.
func TestLongest(t *testing.T) {
	for d, want := range map[nogap.Dialect]string{
		nogap.Postgres: "2147483647", nogap.MySQL: "SESSION innodb_lock_wait_timeout = 2147484",
		nogap.MariaDB: "SET STATEMENT innodb_lock_wait_timeout = 2147484, max_statement_time = 2147483.647000 FOR ",
	} {
		for _, wait := range []time.Duration{lockwait.Longest, 30 * 24 * time.Hour, math.MaxInt64} {
			var told string
			db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if told += c.Query; len(c.Args) > 0 {
					told = c.Arg(0).(string)
				}
				return fakedb.Row("0", "1"), nil
			})
			s, err := dialect.Assume(d)
			require.NoError(t, err)
			b, err := lockwait.Limit(t.Context(), db, s, wait, new(lockwait.Undos))
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(told+b.Prefix, want), "%v: %s", wait, told+b.Prefix)
			require.NoError(t, db.Close())
		}
	}
}

type canceled struct{}

func (canceled) Error() string    { return "max_statement_time" }
func (canceled) SQLState() string { return "57014" }

// Only after that time it is the limit that has ended the statement.
func TestExplain(t *testing.T) {
	s, err := dialect.Assume(nogap.MariaDB)
	require.NoError(t, err)
	for d, want := range map[time.Duration]bool{time.Nanosecond: true, time.Hour: false, 0: false} {
		b, err := lockwait.Limit(t.Context(), nil, s, d, new(lockwait.Undos))
		require.NoError(t, err)
		err = b.Explain(canceled{})
		require.ErrorIs(t, err, canceled{})
		if want {
			require.ErrorIs(t, err, nogap.ErrLockTimeout)
		} else {
			require.NotErrorIs(t, err, nogap.ErrLockTimeout)
		}
	}
}
