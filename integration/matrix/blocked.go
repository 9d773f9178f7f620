//go:build unix

package matrix

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// AwaitBlocked waits until the server says that a session waits for a lock of another one: in the database of db, on MySQL and
// MariaDB for a row of it. SQLite does not know who waits.
func (target Target) AwaitBlocked(tb testing.TB, db *sql.DB) {
	tb.Helper()
	target.awaitBlocked(tb, db, func(n int) bool { return n > 0 })
}

// AwaitUnblocked waits until no session waits any more, as AwaitBlocked does until one waits.
func (target Target) AwaitUnblocked(tb testing.TB, db *sql.DB) {
	tb.Helper()
	target.awaitBlocked(tb, db, func(n int) bool { return n == 0 })
}

func (target Target) awaitBlocked(tb testing.TB, db *sql.DB, enough func(sessions int) bool) {
	tb.Helper()
	blocked, ok := blocked[target.Dialect]
	require.True(tb, ok, "matrix: %s does not tell who waits", target.Name)
	require.Eventually(tb, func() bool {
		n, err := blocked(tb.Context(), db)
		require.NoError(tb, err)
		return enough(n)
	}, time.Minute, time.Millisecond)
}

// blocked counts the sessions that wait.
var blocked = map[nogap.Dialect]func(context.Context, *sql.DB) (int, error){
	nogap.Postgres: count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"),
	nogap.MariaDB:  blockedInStatus,
	nogap.MySQL: count("SELECT count(*) FROM performance_schema.data_lock_waits w JOIN performance_schema.data_locks l " +
		"ON l.engine_lock_id = w.requesting_engine_lock_id WHERE l.object_schema = DATABASE()"),
}

func count(query string) func(context.Context, *sql.DB) (int, error) {
	return func(ctx context.Context, db *sql.DB) (n int, err error) {
		err = db.QueryRowContext(ctx, query).Scan(&n)
		return n, err
	}
}

// blockedInStatus counts the locks that MariaDB prints as waited for. Its tables of locks are cached for as long as somebody
// reads them more often than every 100 ms.
func blockedInStatus(ctx context.Context, db *sql.DB) (n int, err error) {
	var name, status, none string
	if err := db.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&name); err != nil {
		return 0, err
	}
	if err := db.QueryRowContext(ctx, "SHOW ENGINE INNODB STATUS").Scan(&none, &none, &status); err != nil {
		return 0, err
	}
	for line := range strings.Lines(status) {
		if strings.Contains(line, " of table `"+name+"`.") && strings.HasSuffix(strings.TrimSpace(line), " waiting") {
			n++
		}
	}
	return n, nil
}
