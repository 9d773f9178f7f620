//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// coupons makes coupons of which 3 of 10 have been used. That of NULL has no limit that anybody knows.
func coupons(tb testing.TB, db *sql.DB) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE coupons (id VARCHAR(20) PRIMARY KEY, used BIGINT NOT NULL, usage_limit BIGINT, active INT NOT NULL, status VARCHAR(20) NOT NULL)")
	exec(tb, db, "INSERT INTO coupons VALUES ('ten', 3, 10, 1, 'new'), ('off', 3, 10, 0, 'new'), ('full', 10, 10, 1, 'new'), ('null', 3, NULL, 1, 'new')")
}

const available = "active = 0 AND used < 0 OR used < usage_limit AND active = 1"

func TestWhere(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		coupons(t, db)
		used, err := atomic.NewCounter[int64](db, "coupons", "used", atomic.Where(available))
		require.NoError(t, err)
		status, err := atomic.NewState[string](db, "coupons", "status", atomic.Where(available))
		require.NoError(t, err)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		check := func(used *atomic.Counter[int64], status *atomic.State[string], now int64) {
			ctx := t.Context()
			n, err := used.Increment(ctx, 1, "ten")
			require.NoError(t, err)
			require.Equal(t, now, n)
			for id, is := range map[string]int64{"off": 3, "full": 10, "null": 3} {
				n, err := used.Increment(ctx, 1, id)
				require.ErrorIs(t, err, atomic.ErrConditionFailed, id)
				require.Equal(t, is, n, id)
				var refused *atomic.RefusedError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, &atomic.RefusedError{
					Err: atomic.ErrConditionFailed, Table: "coupons", Column: "used", Key: atomic.Key{id}, Current: is,
				}, refused)
				_, err = used.Decrement(ctx, 11, id)
				require.ErrorIs(t, err, atomic.ErrInsufficient)
				_, err = used.IncrementUpTo(ctx, 1, 3, id)
				require.ErrorIs(t, err, atomic.ErrLimit)
				_, err = used.Increment(ctx, 0, id)
				require.ErrorIs(t, err, atomic.ErrConditionFailed)
				require.ErrorIs(t, used.CompareAndSet(ctx, is, is, id), atomic.ErrConditionFailed)
				require.ErrorIs(t, used.CompareAndSet(ctx, 99, 1, id), atomic.ErrMismatch)
				require.ErrorIs(t, status.Transition(ctx, "new", "seen", id), atomic.ErrConditionFailed)
				require.ErrorIs(t, status.Transition(ctx, "old", "seen", id), atomic.ErrMismatch)
				err = used.DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{"ten"}, N: 1}, {Key: atomic.Key{id}, N: 1}})
				require.ErrorIs(t, err, atomic.ErrConditionFailed)
			}
			_, err = used.Increment(ctx, 1, "none")
			require.ErrorIs(t, err, sql.ErrNoRows)
		}
		check(used.WithTx(tx), status.WithTx(tx), 4)
		require.NoError(t, tx.Rollback())
		check(used, status, 4)
		require.Equal(t, int64(20), value[int64](t, db, "SELECT sum(used) FROM coupons"))
		require.Equal(t, 4, value[int](t, db, "SELECT count(*) FROM coupons WHERE status = 'new'"))
	})
}

// TestWhereLimitIsLowered: a limit in another column that is lowered meanwhile is never exceeded.
func TestWhereLimitIsLowered(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		coupons(t, db)
		exec(t, db, "UPDATE coupons SET used = 900, usage_limit = 1000 WHERE id = 'ten'") // the limit itself stays above 0
		used, err := atomic.NewCounter[int64](db, "coupons", "used", atomic.Where("used < usage_limit"))
		require.NoError(t, err)
		limit, err := atomic.NewCounter[int64](db, "coupons", "usage_limit", atomic.Where("used < usage_limit"))
		require.NoError(t, err)
		var taken, lowered stdatomic.Int64
		together(20, func(i int) {
			change, done := used.Increment, &taken
			if i%2 == 0 {
				change, done = limit.Decrement, &lowered
			}
			for range 200 {
				_, err := change(context.Background(), 1, "ten")
				if errors.Is(err, atomic.ErrConditionFailed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
			t.Error("nobody is refused")
		})
		require.Equal(t, int64(100), taken.Load()+lowered.Load())
		require.Equal(t, 900+taken.Load(), value[int64](t, db, "SELECT used FROM coupons WHERE id = 'ten'"))
		require.Equal(t, 1000-lowered.Load(), value[int64](t, db, "SELECT usage_limit FROM coupons WHERE id = 'ten'"))
	})
}
