package pessimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

// A lock that is not acquired is an error that says which one, after how long, and why.
func TestLockError(t *testing.T) {
	named := func(ctx context.Context, db *sql.DB, opts ...pessimistic.Option) error {
		return pessimistic.WithNamedLock(ctx, db, "a", func(context.Context, *sqlx.Tx) error { return nil }, append(opts, asPostgres)...)
	}
	both := pessimistic.Row{Table: "shop.items", Key: nogap.Key{"eu", 7}, KeyColumns: []string{"region", "id"}}
	tests := []struct {
		name string
		run  func(context.Context, *sql.DB) error
		want pessimistic.LockError
		text string
	}{
		{"NoWait in the server", func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock(ctx, db, both, nothing, asPostgres, pessimistic.NoWait())
		}, pessimistic.LockError{Table: "shop.items", Key: nogap.Key{"eu", 7}, Waited: time.Second, Err: pessimistic.ErrLocked},
			"pessimistic: shop.items at [eu 7]: locked: SQLSTATE 55P03"},
		{"the limit of the server", func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock(ctx, db, both, nothing, asPostgres)
		}, pessimistic.LockError{Table: "shop.items", Key: nogap.Key{"eu", 7}, Waited: time.Second, Err: nogap.ErrLockTimeout},
			"pessimistic: shop.items at [eu 7]: nogap: lock timeout: SQLSTATE 55P03"},
		{"the limit of the server in Claim", func(ctx context.Context, db *sql.DB) error {
			queue := pessimistic.Queue{Table: "items", Limit: 1}
			return pessimistic.Claim(ctx, db, queue, func(context.Context, *sqlx.Tx, []*item) error { return nil }, asPostgres)
		}, pessimistic.LockError{Table: "items", Waited: time.Second, Err: nogap.ErrLockTimeout},
			"pessimistic: items: nogap: lock timeout: SQLSTATE 55P03"},
		{"LockRow", func(ctx context.Context, db *sql.DB) error {
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = pessimistic.LockRow[item](ctx, tx, itemOne, asPostgres)
			return err
		}, pessimistic.LockError{Table: "items", Key: nogap.Key{1}, Waited: time.Second, Err: nogap.ErrLockTimeout},
			"pessimistic: items at [1]: nogap: lock timeout: SQLSTATE 55P03"},
		{"Timeout in the process", func(ctx context.Context, db *sql.DB) (err error) {
			require.NoError(t, named(ctx, db))
			require.NoError(t, pessimistic.WithNamedLock(ctx, db, "a", func(context.Context, *sqlx.Tx) error {
				err = named(ctx, db, pessimistic.Timeout(time.Minute))
				return nil
			}, asPostgres))
			return err
		}, pessimistic.LockError{Name: "a", Waited: time.Minute, Err: nogap.ErrLockTimeout},
			`pessimistic: the name "a": nogap: lock timeout: other calls in this process have it`},
		{"NoWait in the process", func(ctx context.Context, db *sql.DB) (err error) {
			require.NoError(t, pessimistic.WithNamedLock(ctx, db, "a", func(context.Context, *sqlx.Tx) error {
				err = named(ctx, db, pessimistic.NoWait())
				return nil
			}, asPostgres))
			return err
		}, pessimistic.LockError{Name: "a", Err: pessimistic.ErrLocked},
			`pessimistic: the name "a": locked by another call in this process`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := server(func(c fakedb.Call) error {
					if strings.Contains(c.Query, "FOR UPDATE") { // the row is busy
						time.Sleep(time.Second)
						return stateError("55P03")
					}
					return nil
				}).DB()
				defer db.Close()
				err := tt.run(t.Context(), db)
				require.EqualError(t, err, tt.text)
				var got *pessimistic.LockError
				require.ErrorAs(t, err, &got)
				require.ErrorIs(t, got, tt.want.Err)
				tt.want.Err = got.Err
				require.Equal(t, tt.want, *got)
				require.Equal(t, strings.Contains(tt.text, "55P03"), errors.Is(err, stateError("55P03")), "the server's error is kept")
			})
		})
	}
}

// A callback's own statement has waited for too long: it is not run again, and the error says so. What LockRow has found
// locked is not called a timeout.
func TestLockTimeoutInTheCallback(t *testing.T) {
	s := server(func(c fakedb.Call) error {
		if strings.HasPrefix(c.Query, "UPDATE") || strings.Contains(c.Query, "NOWAIT") {
			return stateError("55P03")
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	calls := 0
	err := pessimistic.WithRowLock(t.Context(), db, itemOne, func(ctx context.Context, tx *sqlx.Tx, _ *item) error {
		calls++
		_, err := tx.ExecContext(ctx, "UPDATE items SET stock = 0")
		return err
	}, asPostgres)
	require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
	require.ErrorIs(t, err, stateError("55P03"))
	require.Equal(t, 1, calls)

	err = pessimistic.WithRowLock(t.Context(), db, itemOne, func(ctx context.Context, tx *sqlx.Tx, _ *item) error {
		_, err := pessimistic.LockRow[item](ctx, tx, pessimistic.Row{Table: "items", Key: 2}, pessimistic.NoWait())
		return err
	}, asPostgres)
	require.ErrorIs(t, err, pessimistic.ErrLocked)
	require.NotErrorIs(t, err, pessimistic.ErrLockTimeout)
}
