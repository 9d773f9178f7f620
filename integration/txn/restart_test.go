//go:build unix

package txn_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
)

// killAll ends all other connections to the database within less than a second: pgx tries one that has been idle for
// longer before it uses it.
func (w *world) killAll(t *testing.T) {
	t.Helper()
	if w.Dialect == nogap.Postgres {
		const others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		w.exec(t, "SELECT pg_terminate_backend(pid) "+others)
		w.awaitZero(t, "SELECT count(*) "+others)
		return
	}
	const others = "FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
	rows, err := w.direct.QueryContext(t.Context(), "SELECT id "+others)
	require.NoError(t, err)
	var ids []int
	for rows.Next() {
		var id int
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	for _, id := range ids {
		w.exec(t, "KILL "+strconv.Itoa(id))
	}
	w.awaitZero(t, "SELECT count(*) "+others)
}

// awaitZero waits until a query says zero.
func (w *world) awaitZero(t *testing.T, query string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, w.direct.QueryRowContext(t.Context(), query).Scan(&n))
		return n == 0
	}, 10*time.Second, time.Millisecond)
}

// The server has ended every idle connection of a pool. One call may find out by an outcome that nobody knows, and not
// every call that takes one of the others.
func TestRestartCostsFewOutcomes(t *testing.T) {
	const idle = 20
	targets := append(matrix.Postgres(), matrix.MariaDB()...)
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		for _, a := range adders(target) {
			t.Run(a.name, func(t *testing.T) {
				w := newWorld(t, target)
				w.direct.SetMaxOpenConns(1) // which is not killed
				db := target.Connect(t, w.dsn)
				for range 2 { // pgx also tries a connection that was never idle before
					w.idle(t, db, idle)
				}
				w.killAll(t)
				unknown, applied := 0, 0
				for range 2 * idle {
					switch err := a.run(t.Context(), w, db); {
					case errors.Is(err, nogap.ErrOutcomeUnknown):
						unknown++
					default:
						require.NoError(t, err)
						applied++
					}
				}
				t.Logf("%d of %d outcomes unknown", unknown, 2*idle)
				require.LessOrEqual(t, unknown, 1)
				n := w.applied(t)
				require.GreaterOrEqual(t, n, applied)
				require.LessOrEqual(t, n, applied+unknown)
				require.Zero(t, db.Stats().InUse)
			})
		}
	})
}
