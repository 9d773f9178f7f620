// Package migrating is the code of docs/migrating.md: locks in Redis by hand, with redsync and with redislock, and the same with
// distlock.
package migrating

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/distlock"
)

var errBusy = errors.New("somebody else does it")

// tryWithNogap does the work if nobody else does it.
func tryWithNogap(ctx context.Context, locks *distlock.Locker, name string, work func(context.Context) error) (err error) {
	lease, err := locks.TryLock(ctx, name)
	if errors.Is(err, distlock.ErrNotAcquired) {
		return errBusy
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Unlock(ctx)) }() // ErrLost if it was gone, and never another holder's
	leased, cancel := context.WithCancel(lease.Context())        // ends when the lease is lost,
	defer cancel()
	defer context.AfterFunc(ctx, cancel)() // and, as you choose, with ctx
	return work(leased)
}

// waitWithNogap waits for its turn until ctx ends.
func waitWithNogap(ctx context.Context, locks *distlock.Locker, name string, work func(context.Context) error) error {
	return locks.WithLock(ctx, name, func(ctx context.Context, _ *distlock.Lease) error {
		return work(ctx)
	})
}
