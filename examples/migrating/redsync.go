package migrating

import (
	"context"

	"github.com/go-redsync/redsync/v4"
)

// waitWithRedsync works on when the lock is over after 8 s, unless the work calls ExtendContext itself.
func waitWithRedsync(ctx context.Context, rs *redsync.Redsync, key string, work func(context.Context) error) error {
	mutex := rs.NewMutex(key)
	if err := mutex.LockContext(ctx); err != nil {
		return err
	}
	defer mutex.UnlockContext(ctx) // releases nothing if ctx has ended
	return work(ctx)
}
