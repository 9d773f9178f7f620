//go:build unix

package outcome_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// The primary is killed in the midst of calls, and its synchronous standby is promoted: what was acknowledged is there. The
// services go on by the same address, with the same pools.
func TestStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	primary := servers.StartPostgres(t, "wal_level=replica")
	standby := servers.StartPostgresStandby(t, primary)
	admin, err := sql.Open("pgx", primary.DSN)
	require.NoError(t, err)
	defer admin.Close()
	execute(t, admin, "ALTER SYSTEM SET synchronous_standby_names = '*'")
	execute(t, admin, "SELECT pg_reload_conf()")
	require.Eventually(t, func() bool {
		var synchronous int
		err := admin.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").Scan(&synchronous)
		return err == nil && synchronous == 1
	}, patience, 10*time.Millisecond)

	proxy := faultproxy.New(t, primary.Addr, faultproxy.Postgres)
	proxy.EndWithEOF()
	var storms []*storm
	var clients []*client
	for _, target := range matrix.Postgres() {
		dsn := createDatabase(t, target, primary, strings.ReplaceAll(target.Name, "/", "_"))
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		u.Host = proxy.Addr()
		s := newStormAt(t, target, u.String(), "standby promoted", *calls, newCalls)
		storms, clients = append(storms, s), append(clients, s.connect(t, u.String()))
	}
	rng := storms[0].rng(-1)
	strike(t, storms, clients, (*storm).callUntil, func() {
		time.Sleep(upTo(rng, 30*time.Millisecond)) // the moment at which the fault strikes
		primary.Kill(t)
		proxy.Redirect(standby.Addr)
		standby.Promote(t)
	})
	proxy.Cut()
	for i, s := range storms {
		s.struck(s.fault, 1)
		s.reach(t)
		ctx := concurrent.Within(t, s.enough())
		for s.left() { // on the new primary
			_, ok := s.call(ctx, clients[i], "after the promotion")
			require.True(t, ok)
		}
		s.audit(t, clients[i])
	}
}
