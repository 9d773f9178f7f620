//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// The callback has its rows in the order in which it asked for them.
func TestRowLocks(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 3)
		rows := pessimistic.Rows{Table: "items", Keys: []any{3, 1, int64(3), 2}}
		err := pessimistic.WithRowLocks(t.Context(), db, rows, func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
			require.Len(t, items, 4)
			for i, id := range []int64{3, 1, 3, 2} {
				require.Equal(t, id, items[i].ID)
			}
			require.Same(t, items[0], items[2])
			return take(1)(ctx, tx, items[1])
		})
		require.NoError(t, err)
		require.Equal(t, 99, stockOf(t, db, 1))
	})
}

// Random pairs in random order, from two pools, so that it is not the queue in the process that keeps them apart: no
// deadlock reaches the server, and no money is made or lost.
func TestRowLocksDoNotDeadlock(t *testing.T) {
	matrix.Parallel(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		const rows, workers = 8, 64
		turns := int64(1000)
		if target.Name == "postgres/pgx" {
			turns = 10_000
		}
		createItems(t, pools[0], rows)
		before := deadlocks(t, target, pools[0])
		ctx := concurrent.Within(t, 5*time.Minute)

		var attempts, turn atomic.Int64
		concurrent.Run(t, workers, func(w int) error {
			for turn.Add(1) <= turns {
				from, to := rand.IntN(rows)+1, rand.IntN(rows)+1
				n := rand.Int64N(10)
				err := pessimistic.WithRowLocks(ctx, pools[w%2], pessimistic.Rows{Table: "items", Keys: []any{from, to}},
					func(ctx context.Context, tx *sqlx.Tx, items []*Item) error {
						attempts.Add(1)
						if err := take(n)(ctx, tx, items[0]); err != nil {
							return err
						}
						return take(-n)(ctx, tx, items[1])
					})
				if err != nil {
					return err
				}
			}
			return nil
		})
		require.Equal(t, turns, attempts.Load(), "none was run again")
		var sum int64
		require.NoError(t, pools[0].QueryRow("SELECT sum(stock) FROM items").Scan(&sum))
		require.EqualValues(t, rows*100, sum)
		require.Equal(t, before, deadlocks(t, target, pools[0]))
	})
}

// deadlocks returns how many deadlocks the server has seen in the database.
func deadlocks(t *testing.T, target matrix.Target, db *sql.DB) (n int) {
	t.Helper()
	switch target.Dialect {
	case nogap.Postgres:
		// Sessions report to the statistics when they are idle, at most once a second.
		exec(t, db, "SELECT pg_stat_force_next_flush()")
		require.NoError(t, db.QueryRow("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&n))
	case nogap.MariaDB:
		var name string
		require.NoError(t, db.QueryRow("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").Scan(&name, &n))
	}
	return n
}

// go-sql-driver has the server prepare each statement with arguments, which is a round trip each time.
func TestRowLocksPrepareOnce(t *testing.T) {
	matrix.Run(t, append(matrix.MariaDB(), matrix.MySQL()...), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		db.SetMaxOpenConns(1)
		createItems(t, db, 8)
		prepared := func(tx *sqlx.Tx) (n int) {
			var name string
			require.NoError(t, tx.QueryRow("SHOW SESSION STATUS LIKE 'Com_stmt_prepare'").Scan(&name, &n))
			return n
		}
		rows, before := pessimistic.Rows{Table: "items", Keys: []any{8, 7, 6, 5, 4, 3, 2, 1}}, 0
		for i := range 3 {
			err := pessimistic.WithRowLocks(t.Context(), db, rows, func(_ context.Context, tx *sqlx.Tx, items []*Item) error {
				now := prepared(tx)
				if i > 0 { // when it is known whether the driver prepares
					require.Equal(t, 1, now-before)
				}
				before = now
				return nil
			})
			require.NoError(t, err)
		}
	})
}
