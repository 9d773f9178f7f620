//go:build unix

package look_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// mint returns the tokens of three holders in a row of one lock, each of which has a pool of its own.
func mint(t *testing.T, target matrix.Target, dsn string) (numbers []int64, err error) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: servers.StartRedis(t, 1)[0].Addr})
	defer client.Close()
	locks, err := distlock.New([]redis.UniversalClient{client}, distlock.NodeTimeout(2*time.Second))
	require.NoError(t, err)
	defer locks.Close()
	for range 3 {
		err = locks.WithLock(t.Context(), "report", func(ctx context.Context, lease *distlock.Lease) error {
			fence, err := distlock.NewFence(target.Connect(t, dsn), "lock_fences")
			require.NoError(t, err)
			token, err := fence.Mint(ctx, lease)
			numbers = append(numbers, token.Number)
			return err
		})
		if err != nil {
			return numbers, err
		}
	}
	return numbers, nil
}

func TestFence(t *testing.T) {
	const table = "CREATE TABLE lock_fences (name VARBINARY(1000) NOT NULL PRIMARY KEY, token BIGINT NOT NULL, writes BIGINT NOT NULL) "
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		admin := target.Connect(t, dsn)
		_, err := mint(t, target, dsn)
		require.ErrorContains(t, err, "create it with the statement that Fence.Schema returns")
		fence, err := distlock.NewFence(admin, "lock_fences")
		require.NoError(t, err)
		tx, err := admin.Begin()
		require.NoError(t, err)
		err = fence.Guard(t.Context(), tx, distlock.Token{Name: "report", Number: 1})
		require.ErrorContains(t, err, "create it with the statement that Fence.Schema returns")
		require.NoError(t, tx.Rollback())

		exec(t, admin, table+"ENGINE=MyISAM")
		numbers, err := mint(t, target, dsn)
		t.Logf("MyISAM: %v, %v", numbers, err)
		require.ErrorContains(t, err, "lock_fences: its engine MyISAM has no transactions")

		exec(t, admin, "DROP TABLE lock_fences", fence.Schema(target.Dialect))
		numbers, err = mint(t, target, with(dsn, "autocommit=0&innodb_lock_wait_timeout=1"))
		t.Logf("autocommit=0: %v, %v", numbers, err)
		require.ErrorContains(t, err, "the session has autocommit=0")
		numbers, err = mint(t, target, dsn)
		require.NoError(t, err)
		require.Equal(t, []int64{1, 2, 3}, numbers)
	})
}
