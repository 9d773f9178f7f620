package migrating

import (
	"context"
	"errors"
	"time"

	"github.com/bsm/redislock"
)

// tryWithRedislock works on when the lock is over after 8 s, unless the work calls Refresh itself.
func tryWithRedislock(ctx context.Context, client *redislock.Client, key string, work func(context.Context) error) error {
	lock, err := client.Obtain(ctx, key, 8*time.Second, nil)
	if errors.Is(err, redislock.ErrNotObtained) {
		return errBusy
	}
	if err != nil {
		return err
	}
	defer lock.Release(ctx) // releases nothing if ctx has ended
	return work(ctx)
}
