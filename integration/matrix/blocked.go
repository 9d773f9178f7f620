//go:build unix

package matrix

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// AwaitBlocked waits until the server says that a session waits for a lock of another one: on PostgreSQL in the database of db,
// on MySQL and MariaDB for a row in any database. SQLite does not know who waits.
func (target Target) AwaitBlocked(tb testing.TB, db *sql.DB) {
	tb.Helper()
	query, ok := blocked[target.Dialect]
	require.True(tb, ok, "matrix: %s does not tell who waits", target.Name)
	require.Eventually(tb, func() bool {
		var n int
		require.NoError(tb, db.QueryRowContext(tb.Context(), query).Scan(&n))
		return n > 0
	}, time.Minute, time.Millisecond)
}

// blocked counts the sessions that wait. It is not asked of innodb_trx, which is cached for as long as somebody reads it more
// often than every 100 ms.
var blocked = map[nogap.Dialect]string{
	nogap.Postgres: "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0",
	nogap.MariaDB:  "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_row_lock_current_waits'",
	nogap.MySQL:    "SELECT count(*) FROM performance_schema.data_lock_waits",
}
