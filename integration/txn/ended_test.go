//go:build unix

package txn_test

import (
	"context"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// What writes one row by one statement, in any package, knows that it did not if the server ends the session before it answers.
// lib/pq tells nobody that the server has said so.
func TestSessionEndsBeforeItsRow(t *testing.T) {
	type item struct {
		ID      int   `db:"id"`
		Stock   int   `db:"stock"`
		Version int64 `db:"version"`
	}
	target := matrix.Postgres()[0]
	require.Equal(t, "postgres/pgx", target.Name)
	w := newWorld(t, target)
	w.exec(t, "ALTER TABLE items ADD version BIGINT NOT NULL DEFAULT 0, ADD used TIMESTAMPTZ, ALTER stock SET DEFAULT 0")
	w.exec(t, "CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS "+
		"'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'")
	w.exec(t, "CREATE TRIGGER ends AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION ends()")

	db := target.Connect(t, w.dsn)
	stock, err := atomic.NewCounter[int](db, "items", "stock", atomic.CreateMissing(), atomic.VersionColumn("version"))
	require.NoError(t, err)
	state, err := atomic.NewState[int](db, "items", "stock", atomic.VersionColumn("version"))
	require.NoError(t, err)
	members, err := atomic.NewSet(db, "items", []string{"id"})
	require.NoError(t, err)
	codes, err := atomic.NewSingleUse[item](db, "items", atomic.UsedAt("used"))
	require.NoError(t, err)
	once, err := atomic.NewSingleUse[item](db, "items", atomic.DeleteUsed())
	require.NoError(t, err)
	items, err := optimistic.NewTable[item](db, "items")
	require.NoError(t, err)
	keys, err := idempotency.New[int](db, "keys")
	require.NoError(t, err)
	w.exec(t, keys.Schema(nogap.Postgres))
	w.exec(t, "CREATE TRIGGER ends AFTER DELETE ON keys FOR EACH ROW EXECUTE FUNCTION ends()")
	for _, key := range []string{"a", "b"} {
		_, _, err := keys.Do(t.Context(), key, func(context.Context, *sqlx.Tx) (int, error) { return 1, nil })
		require.NoError(t, err)
	}
	w.exec(t, "UPDATE keys SET created_at = created_at - interval '1 hour'")
	for name, write := range map[string]func(context.Context) error{
		"Increment":     func(ctx context.Context) error { _, err := stock.Increment(ctx, 1, 1); return err },
		"CreateMissing": func(ctx context.Context) error { _, err := stock.Increment(ctx, 1, 7); return err },
		"CompareAndSet": func(ctx context.Context) error { return stock.CompareAndSet(ctx, 0, 5, 1) },
		"Transition":    func(ctx context.Context) error { return state.Transition(ctx, 0, 5, 1) },
		"Add":           func(ctx context.Context) error { _, err := members.Add(ctx, 7); return err },
		"Remove":        func(ctx context.Context) error { _, err := members.Remove(ctx, 1); return err },
		"Use":           func(ctx context.Context) error { _, err := codes.Use(ctx, 1); return err },
		"Use, deleted":  func(ctx context.Context) error { _, err := once.Use(ctx, 1); return err },
		"Insert":        func(ctx context.Context) error { return items.Insert(ctx, &item{ID: 7}) },
		"Update":        func(ctx context.Context) error { return items.Update(ctx, &item{ID: 1}) },
		"Modify": func(ctx context.Context) error {
			_, err := items.Modify(ctx, func(it *item) error { it.Stock = 3; return nil }, 1)
			return err
		},
		"Delete": func(ctx context.Context) error { return items.Delete(ctx, &item{ID: 1}) },
		"Forget": func(ctx context.Context) error { return keys.Forget(ctx, "a") },
		"Sweep":  func(ctx context.Context) error { _, err := keys.Sweep(ctx, time.Minute); return err },
	} {
		t.Run(name, func(t *testing.T) {
			err := write(t.Context())
			require.ErrorContains(t, err, "57P01")
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		})
	}
	var n int
	require.NoError(t, w.direct.QueryRowContext(t.Context(), "SELECT count(*) FROM items WHERE stock = 0 AND version = 0").Scan(&n))
	require.Equal(t, 2, n)
	require.NoError(t, w.direct.QueryRowContext(t.Context(), "SELECT count(*) FROM keys").Scan(&n))
	require.Equal(t, 2, n)
	requireClean(t, db)
}
