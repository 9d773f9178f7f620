//go:build unix

package outcome_test

import (
	"context"
	"database/sql"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// The server is killed in the middle of calls, and started again. Some calls are made while it is down. Behind PgBouncer all
// of them are still connected then.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := servers.StartPostgres(t)
		var storms []*storm
		for _, target := range matrix.Postgres() {
			dsn := createDatabase(t, target, server, strings.ReplaceAll(target.Name, "/", "_"))
			storms = append(storms, newStormAt(t, target, dsn, "server killed", kills(), newCalls))
		}
		killAndRestart(t, server, append(storms, stormsOver(t, server, startPgBouncer(t, server), behindPgBouncer)...))
	})
	t.Run("pgbouncer", func(t *testing.T) {
		t.Parallel()
		server := servers.StartPostgres(t)
		bouncer := startPgBouncer(t, server)
		killAndRestart(t, bouncer, stormsOver(t, server, bouncer, "PgBouncer killed"))
	})
	for _, target := range slices.Concat(matrix.MariaDB()[:1], matrix.MySQL()[:min(1, len(matrix.MySQL()))]) {
		t.Run(target.Name, func(t *testing.T) {
			t.Parallel()
			var server *servers.Server
			if target.Dialect == nogap.MySQL {
				server = servers.StartMySQL(t)
			} else {
				server = servers.StartMariaDB(t)
			}
			s := newStormAt(t, target, createDatabase(t, target, server, "storm"), "server killed", kills(), newCalls)
			killAndRestart(t, server, []*storm{s})
		})
	}
}

// kills is for how many calls a server is killed: about once for ten of them.
func kills() int { return inLong(0, *calls/20) }

const behindPgBouncer = "server behind PgBouncer killed"

// startPgBouncer starts one that refuses when it finds no server, and does not have a client wait for minutes.
func startPgBouncer(t *testing.T, server *servers.Server) *servers.Server {
	t.Helper()
	return servers.StartPgBouncer(t, server.DSN, "server_login_retry = 1", "query_wait_timeout = 1")
}

// stormsOver returns a storm through a PgBouncer for each driver.
func stormsOver(t *testing.T, server, bouncer *servers.Server, fault string) (storms []*storm) {
	t.Helper()
	for _, target := range matrix.PgBouncer() {
		direct := createDatabase(t, target, server, strings.ReplaceAll(target.Name, "/", "_"))
		s := newStormAt(t, target, direct, fault, kills(), newCalls)
		s.dsn = behind(t, direct, bouncer, target)
		storms = append(storms, s)
	}
	return storms
}

// createDatabase makes a database on a server of this test, which ends with it.
func createDatabase(t *testing.T, target matrix.Target, server *servers.Server, name string) (dsn string) {
	t.Helper()
	admin, err := sql.Open(target.Driver, server.DSN)
	require.NoError(t, err)
	defer admin.Close()
	execute(t, admin, "CREATE DATABASE "+name)
	if target.Dialect == nogap.Postgres {
		return strings.Replace(server.DSN, "/postgres?", "/"+name+"?", 1)
	}
	return server.DSN + name + "?parseTime=true"
}

// behind returns the DSN that reaches a database through a PgBouncer, with the setting that a driver needs there.
func behind(t *testing.T, dsn string, bouncer *servers.Server, target matrix.Target) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.Host = bouncer.Addr
	query := u.Query()
	if target.Driver == "pgx" {
		query.Set("default_query_exec_mode", "exec")
	} else {
		query.Set("binary_parameters", "yes")
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// killAndRestart makes the calls of all storms at once and kills their server meanwhile, as often as there are calls left.
func killAndRestart(t *testing.T, server *servers.Server, storms []*storm) {
	t.Helper()
	clients := make([]*client, len(storms))
	for i, s := range storms {
		clients[i] = s.connect(t, s.dsn)
	}
	rng := storms[0].rng(-1)
	for storms[0].left() {
		strike(t, storms, clients, (*storm).callUntil, func() {
			time.Sleep(upTo(rng, 20*time.Millisecond)) // the moment at which the fault strikes
			server.Kill(t)
		})
		server.Restart(t)
		for _, s := range storms {
			s.struck(s.fault, 1)
			s.reach(t)
		}
	}
	for i, s := range storms {
		s.audit(t, clients[i])
		if s.fault == behindPgBouncer && s.Driver == "pgx" {
			s.requireRefusals(t)
		}
	}
}

// requireRefusals checks that PgBouncer's words for having no server are believed. lib/pq hands none of its words out.
func (s *storm) requireRefusals(t *testing.T) {
	t.Helper()
	refused := 0
	for _, r := range s.results {
		if r.err == nil || !strings.Contains(r.err.Error(), "FATAL: server login has been failing") {
			continue
		}
		refused++
		require.NotErrorIs(t, r.err, nogap.ErrOutcomeUnknown)
	}
	require.Positive(t, refused)
}

// callUntil makes calls until one fails or the server is down, and some more then. None waits until it is up again.
func (s *storm) callUntil(t *testing.T, c *client, down <-chan struct{}) {
	call := func() (failed bool) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err, ok := s.call(ctx, c, s.fault)
		return err != nil || !ok
	}
	for s.saveFor(down); !call(); s.saveFor(down) {
		select {
		case <-down:
			return
		default:
		}
	}
	<-down
	for range 2 {
		call()
	}
}

// saveFor keeps half of the calls for what the first fault does: it waits for that when the others are made.
func (s *storm) saveFor(fault <-chan struct{}) {
	s.mu.Lock()
	first := s.faults[s.fault] == 0
	s.mu.Unlock()
	if first && int(s.next.Load()) > s.ids/2 {
		<-fault
	}
}

// reach waits until the one connection that no fault strikes has been made again.
func (s *storm) reach(t *testing.T) {
	t.Helper()
	ctx := concurrent.Within(t, patience)
	require.Eventually(t, func() bool { return s.direct.PingContext(ctx) == nil }, patience, 10*time.Millisecond)
}

// strike has all clients make calls until the fault has struck.
func strike(t *testing.T, storms []*storm, clients []*client, calls func(*storm, *testing.T, *client, <-chan struct{}), fault func()) {
	t.Helper()
	struck := make(chan struct{})
	var callers sync.WaitGroup
	for i, s := range storms {
		for range workers {
			callers.Go(func() { calls(s, t, clients[i], struck) })
		}
	}
	fault()
	close(struck)
	callers.Wait()
}
