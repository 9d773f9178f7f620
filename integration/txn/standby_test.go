//go:build unix

package txn_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// A synchronous standby does not answer, so every write waits for it, after it was committed here. The servers call a write
// whose wait was cancelled a success, although the standby may not have it: that outcome is unknown.
func TestSynchronousStandbyIsAway(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := servers.StartPostgres(t, "synchronous_standby_names=nobody")
		const waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()"
		for _, target := range matrix.Postgres() {
			t.Run(target.Driver, func(t *testing.T) {
				admin := target.Connect(t, server.DSN+"&synchronous_commit=local")
				database := "by_" + target.Driver
				_, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+database)
				require.NoError(t, err)
				dsn := strings.Replace(server.DSN, "/postgres?", "/"+database+"?", 1)
				w := &world{target, dsn, target.Connect(t, dsn+"&synchronous_commit=local")}
				w.create(t)
				w.testStandbyIsAway(t, waiting)
			})
		}
	})
	// MySQL's KILL does not end the wait.
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		target := matrix.MariaDB()[0]
		server := servers.StartMariaDB(t, "--log-bin", "--server-id=1")
		admin := target.Connect(t, server.DSN)
		_, err := admin.ExecContext(t.Context(), "CREATE DATABASE semi")
		require.NoError(t, err)
		w := &world{target, server.DSN + "semi", target.Connect(t, server.DSN+"semi")}
		w.create(t)
		w.exec(t, "SET GLOBAL rpl_semi_sync_master_timeout = 60000")
		w.exec(t, "SET GLOBAL rpl_semi_sync_master_enabled = 1")
		w.testStandbyIsAway(t, "SELECT id FROM information_schema.processlist WHERE state = 'Waiting for semi-sync ACK from slave'")
	})
}

// testStandbyIsAway ends the wait of each adder. The query returns the sessions that wait.
func (w *world) testStandbyIsAway(t *testing.T, waiting string) {
	db := w.Connect(t, w.dsn)
	session := func() (id int) {
		rows, err := w.direct.QueryContext(t.Context(), waiting)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			require.NoError(t, rows.Scan(&id))
		}
		return id
	}
	written := 0
	for _, a := range adders(w.Target) {
		for how, end := range map[string]func(cancel func()){
			"cancelled":  func(cancel func()) { cancel() },
			"terminated": func(func()) { w.terminate(t, session()) },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- a.run(ctx, w, db) }()
			require.Eventually(t, func() bool { return session() != 0 }, time.Minute, time.Millisecond)
			end(cancel)
			require.ErrorIs(t, <-result, nogap.ErrOutcomeUnknown, "%s, %s", a.name, how)
			cancel()
			if id := session(); id != 0 { // nobody asks the server to cancel a COMMIT, so it waits on
				w.terminate(t, id)
			}
			written++
			require.Eventually(t, func() bool { return w.applied(t) == written }, time.Minute, time.Millisecond)
			// A session that is still ending would be taken for the next one, which would wait on.
			require.Eventually(t, func() bool { return session() == 0 }, time.Minute, time.Millisecond)
		}
	}
}

// terminate ends a session of which the server may see that it has ended.
func (w *world) terminate(t *testing.T, id int) {
	t.Helper()
	if w.Dialect == nogap.Postgres {
		w.exec(t, "SELECT pg_terminate_backend("+strconv.Itoa(id)+")")
		return
	}
	_, err := w.direct.ExecContext(t.Context(), "KILL "+strconv.Itoa(id))
	if err != nil {
		require.ErrorContains(t, err, "Unknown thread id")
	}
}
