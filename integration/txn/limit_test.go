//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	counters "github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// withLimit is the DSN of sessions that wait a second for a lock, or half a second where that can be said.
func withLimit(target matrix.Target, dsn string) string {
	limit := "&lock_timeout=500"
	switch target.Dialect {
	case nogap.MySQL, nogap.MariaDB:
		limit = "&innodb_lock_wait_timeout=1"
	case nogap.SQLite:
		return strings.NewReplacer("busy_timeout(30000)", "busy_timeout(500)", "_busy_timeout=30000", "_busy_timeout=500").Replace(dsn)
	}
	if !strings.Contains(dsn, "?") {
		limit = "?" + limit[1:]
	}
	return dsn + limit
}

// waiters wait for row 1.
var waiters = map[string]func(ctx context.Context, db *sql.DB) error{
	"one statement": func(ctx context.Context, db *sql.DB) error {
		stock, err := counters.NewCounter[int64](db, "items", "stock")
		if err == nil {
			_, err = stock.Increment(ctx, 1, 1)
		}
		return err
	},
	"one that can't be cancelled": func(ctx context.Context, db *sql.DB) error {
		stock, err := counters.NewCounter[int64](db, "items", "stock")
		if err == nil {
			_, err = stock.Increment(context.WithoutCancel(ctx), 1, 1)
		}
		return err
	},
	"several": func(ctx context.Context, db *sql.DB) error {
		stock, err := counters.NewCounter[int64](db, "items", "stock")
		if err == nil {
			err = stock.IncrementAll(ctx, []counters.Item[int64]{{Key: counters.Key{1}, N: 1}, {Key: counters.Key{2}, N: 1}})
		}
		return err
	},
	"callback": func(ctx context.Context, db *sql.DB) error {
		return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, add)
			return err
		})
	},
	"row lock": func(ctx context.Context, db *sql.DB) error {
		type item struct {
			ID    int `db:"id"`
			Stock int `db:"stock"`
		}
		return pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: 1},
			func(context.Context, *sqlx.Tx, *item) error { return errors.New("the row is locked") })
	},
}

// The limit of the server is the caller's patience: it is waited for about once, and not in each of fifty attempts.
func TestServersLockLimit(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		db := target.Connect(t, withLimit(target, w.dsn))
		w.lock(t) // until the test has ended
		for name, wait := range waiters {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				begun := time.Now()
				err := wait(t.Context(), db)
				took := time.Since(begun)
				require.ErrorIs(t, err, nogap.ErrLockTimeout)
				require.NotErrorIs(t, err, nogap.ErrRetriesExhausted)
				require.Less(t, took, 10*time.Second, "of one second at most")
				t.Logf("%v: %v", took, err)
			})
		}
	})
}

// A busy_timeout of 0 is no limit: a busy SQLite is asked again.
func TestNoBusyTimeout(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		db := target.Connect(t, strings.NewReplacer("busy_timeout(30000)", "busy_timeout(0)", "_busy_timeout=30000", "_busy_timeout=0").Replace(w.dsn))
		w.lock(t) // until the test has ended
		err := transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, add)
			return err
		}, transaction.MaxAttempts(3))
		require.ErrorIs(t, err, nogap.ErrRetriesExhausted)
		require.NotErrorIs(t, err, nogap.ErrLockTimeout)
	})
}
