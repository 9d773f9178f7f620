//go:build unix

package pessimistic_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// before are the calls that take the option, each with row 1 of items.
var before = map[string]func(ctx context.Context, db *sql.DB, fn func(tx *sqlx.Tx) error, opts ...pessimistic.Option) error{
	"WithRowLock": func(ctx context.Context, db *sql.DB, fn func(tx *sqlx.Tx) error, opts ...pessimistic.Option) error {
		return pessimistic.WithRowLock(ctx, db, item(1), func(_ context.Context, tx *sqlx.Tx, _ *Item) error { return fn(tx) }, opts...)
	},
	"WithRowLocks": func(ctx context.Context, db *sql.DB, fn func(tx *sqlx.Tx) error, opts ...pessimistic.Option) error {
		return pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "items", Keys: []any{1}},
			func(_ context.Context, tx *sqlx.Tx, _ []*Item) error { return fn(tx) }, opts...)
	},
	"Claim": func(ctx context.Context, db *sql.DB, fn func(tx *sqlx.Tx) error, opts ...pessimistic.Option) error {
		return pessimistic.Claim(ctx, db, pessimistic.Queue{Table: "items", Where: "id = 1", Limit: 1},
			func(_ context.Context, tx *sqlx.Tx, _ []*Item) error { return fn(tx) }, opts...)
	},
	"WithNamedLock": func(ctx context.Context, db *sql.DB, fn func(tx *sqlx.Tx) error, opts ...pessimistic.Option) error {
		return pessimistic.WithNamedLock(ctx, db, "name", func(_ context.Context, tx *sqlx.Tx) error { return fn(tx) }, opts...)
	},
}

// Before runs first, in the same transaction and in each of its attempts, and ends the call with its error.
func TestBefore(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 1)
		exec(t, db, "CREATE TABLE steps (step int)")
		ctx := concurrent.Within(t, time.Minute)
		declined := errors.New("declined")
		for name, call := range before {
			var seen []int
			attempts := 0
			err := call(ctx, db, func(tx *sqlx.Tx) error {
				var steps int
				if err := tx.GetContext(ctx, &steps, "SELECT count(*) FROM steps"); err != nil {
					return err
				}
				seen = append(seen, steps)
				if attempts++; attempts == 1 {
					return lost // so that all of it is run again
				}
				_, err := tx.ExecContext(ctx, "DELETE FROM steps")
				return err
			}, pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO steps VALUES (1)")
				return err
			}))
			require.NoError(t, err, name)
			require.Equal(t, []int{1, 1}, seen, name)

			err = call(ctx, db, func(*sqlx.Tx) error { return errors.New("called") }, pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO steps VALUES (1)")
				require.NoError(t, err)
				return declined
			}))
			require.Equal(t, declined, err, name)
			var steps int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM steps").Scan(&steps))
			require.Zero(t, steps, name)
		}
		require.ErrorContains(t, before["Claim"](ctx, db, nil, pessimistic.Before(nil)), "Before")
	})
}

// lost is what a server says to a transaction that is to be run again.
var lost = &lostError{}

type lostError struct{}

func (*lostError) Error() string    { return "lost" }
func (*lostError) SQLState() string { return "40001" }

// Row level security by SET LOCAL needs a place before the lock.
func TestBeforeForRowLevelSecurity(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		createItems(t, db, 2)
		role := "tenant_" + strings.ToLower(rand.Text())
		exec(t, db, "CREATE ROLE "+role)
		defer func() { exec(t, db, "DROP OWNED BY "+role); exec(t, db, "DROP ROLE "+role) }()
		exec(t, db, "GRANT USAGE ON SCHEMA public TO "+role)
		exec(t, db, "GRANT ALL ON items TO "+role)
		exec(t, db, "ALTER TABLE items ENABLE ROW LEVEL SECURITY")
		exec(t, db, "CREATE POLICY own ON items USING (id::text = current_setting('app.tenant', true))")
		tenant := func(id string) pessimistic.Option {
			return pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := tx.ExecContext(ctx, "SET LOCAL ROLE "+role)
				if err == nil {
					_, err = tx.ExecContext(ctx, "SELECT set_config('app.tenant', $1, true)", id)
				}
				return err
			})
		}
		ctx := concurrent.Within(t, time.Minute)
		require.NoError(t, pessimistic.WithRowLock(ctx, db, item(1), take(1), tenant("1")))
		require.ErrorIs(t, pessimistic.WithRowLock(ctx, db, item(2), take(1), tenant("1")), sql.ErrNoRows)
		require.NoError(t, pessimistic.Claim(ctx, db, pessimistic.Queue{Table: "items", Limit: 9},
			func(_ context.Context, _ *sqlx.Tx, items []*Item) error {
				require.Len(t, items, 1)
				require.EqualValues(t, 2, items[0].ID)
				return nil
			}, tenant("2")))
		require.Equal(t, 99, stockOf(t, db, 1))
		require.Equal(t, 100, stockOf(t, db, 2))
	})
}
