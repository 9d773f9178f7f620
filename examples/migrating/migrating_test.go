package migrating

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
)

const name, key = "report", "lock:report" // "lock:" is the default Prefix of a Locker

type work = func(context.Context) error

// ways are those to hold the lock.
func ways(t *testing.T) (*miniredis.Miniredis, map[string]func(context.Context, work) error) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	locks, err := distlock.New([]redis.UniversalClient{client})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, locks.Close())
		require.NoError(t, client.Close())
	})
	rs := redsync.New(goredis.NewPool(client))
	return server, map[string]func(context.Context, work) error{
		"by hand":     func(ctx context.Context, w work) error { return tryBySetNX(ctx, client, key, w) },
		"redsync":     func(ctx context.Context, w work) error { return waitWithRedsync(ctx, rs, key, w) },
		"redislock":   func(ctx context.Context, w work) error { return tryWithRedislock(ctx, redislock.New(client), key, w) },
		"nogap":       func(ctx context.Context, w work) error { return tryWithNogap(ctx, locks, name, w) },
		"nogap waits": func(ctx context.Context, w work) error { return waitWithNogap(ctx, locks, name, w) },
	}
}

func done(context.Context) error { return nil }

// While an old release and a new one run side by side, each keeps the other out.
func TestSideBySide(t *testing.T) {
	for _, held := range []string{"by hand", "redsync", "redislock", "nogap", "nogap waits"} {
		_, ways := ways(t)
		require.NoError(t, ways[held](t.Context(), func(context.Context) error {
			for other, try := range ways {
				short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				require.Error(t, try(short, done), "%s while %s has the lock", other, held)
				cancel()
			}
			return nil
		}), held)
		require.NoError(t, ways["nogap waits"](t.Context(), done), "it is free again")
	}
}

// When the time of a lock is over and somebody else has it, only DEL by hand ends it, and only nogap tells its holder.
func TestTimeIsOver(t *testing.T) {
	for which, want := range map[string]struct{ deletes, tells bool }{
		"by hand": {deletes: true}, "redsync": {}, "redislock": {}, "nogap": {tells: true}, "nogap waits": {tells: true},
	} {
		t.Run(which, func(t *testing.T) {
			server, ways := ways(t)
			err := ways[which](t.Context(), func(context.Context) error {
				server.FastForward(time.Minute)
				return server.Set(key, "another holder's")
			})
			if want.tells {
				require.ErrorIs(t, err, distlock.ErrLost)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, !want.deletes, server.Exists(key))
		})
	}
}

// When the context of the holder ends, nogap alone gives the lock back.
func TestContextEnds(t *testing.T) {
	for which, releases := range map[string]bool{
		"by hand": false, "redsync": false, "redislock": false, "nogap": true, "nogap waits": true,
	} {
		t.Run(which, func(t *testing.T) {
			server, ways := ways(t)
			ctx, cancel := context.WithCancel(t.Context())
			err := ways[which](ctx, func(ctx context.Context) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, !releases, server.Exists(key))
		})
	}
}
