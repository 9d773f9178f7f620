package main

import (
	"context"
	"errors"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	rsredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/nogap-go/nogap/distlock"
)

// lock waits for the lock of a name and returns what releases it.
type lock func(ctx context.Context, name string) (unlock func() error, err error)

// rival is a library to compare. Each is used as its documentation shows, with its defaults.
type rival struct {
	name  string
	multi bool // it can use several independent nodes
	open  func(addrs []string) (lock, func(), error)
}

var rivals = []rival{
	{"nogap", true, openNogap},
	{"redsync", true, openRedsync},
	{"redislock", false, openRedislock},
	{"rueidislock", false, openRueidislock},
}

func rivalNamed(name string) (rival, error) {
	for _, r := range rivals {
		if r.name == name {
			return r, nil
		}
	}
	return rival{}, errors.New("no rival " + name)
}

func clients(addrs []string) (list []redis.UniversalClient, closeAll func()) {
	for _, addr := range addrs {
		list = append(list, redis.NewClient(&redis.Options{Addr: addr}))
	}
	return list, func() {
		for _, c := range list {
			c.Close()
		}
	}
}

func openNogap(addrs []string) (lock, func(), error) {
	list, closeAll := clients(addrs)
	locks, err := distlock.New(list)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, name string) (func() error, error) {
		lease, err := locks.Lock(ctx, name)
		if err != nil {
			return nil, err
		}
		return func() error { return lease.Unlock(ctx) }, nil
	}, func() { locks.Close(); closeAll() }, nil
}

func openRedsync(addrs []string) (lock, func(), error) {
	list, closeAll := clients(addrs)
	pools := make([]rsredis.Pool, len(list))
	for i, c := range list {
		pools[i] = goredis.NewPool(c)
	}
	rs := redsync.New(pools...)
	return func(ctx context.Context, name string) (func() error, error) {
		m := rs.NewMutex("redsync:" + name)
		for {
			err := m.LockContext(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return nil, err
			} // else its 32 tries were not enough
		}
		return func() error {
			_, err := m.UnlockContext(ctx)
			return err
		}, nil
	}, closeAll, nil
}

func openRedislock(addrs []string) (lock, func(), error) {
	list, closeAll := clients(addrs)
	locker := redislock.New(list[0])
	return func(ctx context.Context, name string) (func() error, error) {
		l, err := locker.Obtain(ctx, "redislock:"+name, 8*time.Second, &redislock.Options{
			RetryStrategy: redislock.LinearBackoff(100 * time.Millisecond),
		})
		if err != nil {
			return nil, err
		}
		return func() error { return l.Release(ctx) }, nil
	}, closeAll, nil
}

func openRueidislock(addrs []string) (lock, func(), error) {
	locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: addrs[:1]},
		KeyMajority:    1,
		NoLoopTracking: true,
	})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, name string) (func() error, error) {
		_, cancel, err := locker.WithContext(ctx, name)
		return func() error { cancel(); return nil }, err
	}, locker.Close, nil
}
