//go:build unix

package atomic_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
)

// throughProxy returns a pool that reaches a database around a proxy, and one that reaches it through it.
func throughProxy(t *testing.T, target matrix.Target) (db, bad *sql.DB, proxy *faultproxy.Proxy) {
	t.Helper()
	dsn := target.DSN(t)
	db = target.Connect(t, dsn)
	proxy, through := target.Proxy(t, dsn)
	bad, err := sql.Open(target.Driver, through)
	require.NoError(t, err)
	t.Cleanup(func() { bad.Close() })
	return db, bad, proxy
}

// TestLostUse: the answer to the statement that uses the row, or to its COMMIT, is lost. The row is used up, and nobody is
// told that he has it, nor that he has not.
func TestLostUse(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		db, bad, proxy := throughProxy(t, target)
		resets(t, db, timeTypes(target)[0])
		s := newResets(t, bad, usedAt, expiresAt)
		addReset(t, db, target, "first", time.Now().Add(time.Hour))
		_, err := s.Use(t.Context(), "first")
		require.NoError(t, err)
		last := "UPDATE"
		if mysqlLike(target) {
			last = "COMMIT"
		}
		for code, lose := range map[string]func(faultproxy.Match) *faultproxy.Fault{"reply": proxy.LoseReply, "request": proxy.LoseRequest} {
			addReset(t, db, target, code, time.Now().Add(time.Hour))
			lost := lose(faultproxy.Executes(last))
			row, err := s.Use(t.Context(), code)
			lost.Await(t)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown, code)
			require.Zero(t, row)
		}
		_, err = s.Use(t.Context(), "reply")
		require.ErrorIs(t, err, atomic.ErrUsed)
		row, err := s.Use(t.Context(), "request")
		require.NoError(t, err, "what was lost is not sent again later")
		require.Equal(t, "request", row.Code)
	})
}

// TestLostInsert: the answer to the INSERT of a missing row is lost. It is not sent again.
func TestLostInsert(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		db, bad, proxy := throughProxy(t, target)
		series(t, db, "BIGINT")
		c := newNumbers[int64](t, bad)
		_, err := c.Increment(t.Context(), 1, "first")
		require.NoError(t, err)
		for key, lose := range map[string]func(faultproxy.Match) *faultproxy.Fault{"reply": proxy.LoseReply, "request": proxy.LoseRequest} {
			lost := lose(faultproxy.Executes("INSERT INTO"))
			n, err := c.Increment(t.Context(), 5, key)
			lost.Await(t)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown, key)
			require.Zero(t, n)
		}
		require.EqualValues(t, 5, value[int64](t, db, "SELECT n FROM numbers WHERE series = 'reply'"))
		require.Zero(t, value[int](t, db, "SELECT count(*) FROM numbers WHERE series = 'request'"))
	})
}
