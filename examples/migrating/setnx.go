package migrating

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// tryBySetNX goes wrong when the work takes longer than the ten seconds: somebody else gets the lock, and this DEL ends it.
func tryBySetNX(ctx context.Context, client redis.UniversalClient, key string, work func(context.Context) error) error {
	ok, err := client.SetNX(ctx, key, "1", 10*time.Second).Result()
	if err != nil {
		return err
	}
	if !ok {
		return errBusy
	}
	defer client.Del(ctx, key)
	return work(ctx)
}
