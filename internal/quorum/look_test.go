package quorum_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/quorum"
)

// lookedAt returns Nodes on one server that counts how often it was looked at.
func lookedAt(t *testing.T, s *server) (*quorum.Nodes, *background.Group) {
	bg := background.New()
	ns, err := quorum.New([]redis.UniversalClient{s.client(t)}, quorum.Config{TTL: ttl, Timeout: timeout, Process: "p"}, bg)
	require.NoError(t, err)
	require.Zero(t, s.looks, "New asks nobody")
	return ns, bg
}

// A node is looked at once. One that is a replica is looked at again a second later.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.info = "role:slave\r\nmaster_host:master\r\nmaster_port:6379\r\n"
		ns, bg := lookedAt(t, s)
		for range 3 {
			_, _, failed := ns.Acquire(t.Context(), "a")
			require.EqualError(t, failed.Failed[0].Err,
				"it is a replica of master:6379, which need not know a lock that is kept here")
			require.False(t, failed.Incurable(), "it may become the master")
			require.False(t, failed.Answered())
			require.False(t, s.held("a"))
		}
		require.Equal(t, 1, s.looks)
		s.info = "role:master\r\n"
		time.Sleep(time.Second)
		for range 3 {
			a, _, failed := ns.Acquire(t.Context(), "a")
			require.Nil(t, failed)
			_, failed = a.Release(t.Context(), ignore)
			require.Nil(t, failed)
		}
		require.Equal(t, 2, s.looks)
		bg.Close()
		require.True(t, bg.Wait(time.Minute))
	})
}

// What the server refuses to scripts is named, and no waiting helps.
func TestLookAtRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.refused = []any{"LREM: ERR no right", "LPOP: ERR no right"}
		ns, bg := lookedAt(t, s)
		_, _, failed := ns.Acquire(t.Context(), "a")
		require.ErrorContains(t, failed.Failed[0].Err, "LREM, LPOP in scripts: ERR no right")
		require.True(t, failed.Incurable())

		s.refused = []any{"RPUSH: OOM command not allowed when used memory > 'maxmemory'."}
		time.Sleep(time.Second)
		for want := 2; want < 4; want++ {
			_, _, failed = ns.Acquire(t.Context(), "a")
			require.EqualError(t, failed.Failed[0].Err, "OOM command not allowed when used memory > 'maxmemory'.")
			require.False(t, failed.Incurable())
			require.Equal(t, want, s.looks, "it may pass at any time")
		}
		bg.Close()
		require.True(t, bg.Wait(time.Minute))
	})
}
