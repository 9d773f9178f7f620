package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/distlock"
)

// lockedSeller does what unsafeSeller does, with a lock in Redis around it that all servers share. The lock is lost if
// its holder is paused for longer than the TTL, 8 seconds here, and then wakes up to write: where that matters, add a
// distlock.Fence.
type lockedSeller struct {
	unsafeSeller
	locks *distlock.Locker
}

// openRedisLock keeps the lock on one node.
func openRedisLock(s shop) (seller, error) { return openLocked(s, s.redis[:1]) }

// openRedlock keeps the lock on a majority of several independent nodes.
func openRedlock(s shop) (seller, error) { return openLocked(s, s.redis) }

func openLocked(s shop, nodes []redis.UniversalClient) (seller, error) {
	// The table's name is nobody else's, so neither are the keys.
	// In a sale everything is busy: a node that is slow to answer is in order all the same.
	locks, err := distlock.New(nodes, distlock.Prefix(s.table+":"), distlock.NodeTimeout(2*time.Second))
	if err != nil {
		return nil, err
	}
	return lockedSeller{newUnsafeSeller(s), locks}, nil
}

func (l lockedSeller) purchase(
	ctx context.Context, item int64, check func(context.Context) error,
) (left int64, err error) {
	err = l.locks.WithLock(ctx, strconv.FormatInt(item, 10), func(ctx context.Context, _ *distlock.Lease) error {
		left, err = l.unsafeSeller.purchase(ctx, item, check)
		return err
	})
	if errors.Is(err, distlock.ErrLost) {
		return 0, err
	}
	return left, err
}

// Close is called when the server stops.
func (l lockedSeller) Close() error { return l.locks.Close() }
