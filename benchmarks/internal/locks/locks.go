// Package locks has the libraries of distributed locks that are compared. Each is used as its documentation shows, with its
// defaults.
package locks

import (
	"context"
	"errors"
	"strconv"
	"strings"
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

// Lock waits for the lock of a name and returns what releases it.
type Lock func(ctx context.Context, name string) (unlock func() error, err error)

// Library is one of them.
type Library struct {
	Name    string
	Multi   bool // it can use several independent nodes
	Sharded bool // it can use a Ring and a Cluster of go-redis
	Open    func(addrs []string) (lock Lock, closeAll func(), err error)
}

// Nogap, Redsync, Redislock and Rueidislock are the libraries.
var (
	Nogap       = Library{Name: "nogap", Multi: true, Sharded: true, Open: openNogap}
	Redsync     = Library{Name: "redsync", Multi: true, Sharded: true, Open: openRedsync}
	Redislock   = Library{Name: "redislock", Sharded: true, Open: openRedislock}
	Rueidislock = Library{Name: "rueidislock", Open: openRueidislock}
)

// All are all of them.
var All = []Library{Nogap, Redsync, Redislock, Rueidislock}

// Named returns the one of a name.
func Named(name string) (Library, error) {
	for _, l := range All {
		if l.Name == name {
			return l, nil
		}
	}
	return Library{}, errors.New("no library " + name)
}

// RingOf and ClusterOf return the address of a node that is several servers.
func RingOf(addrs []string) string    { return ring + strings.Join(addrs, "+") }
func ClusterOf(addrs []string) string { return cluster + strings.Join(addrs, "+") }

const ring, cluster = "ring:", "cluster:"

// Clients returns a client for each node.
func Clients(addrs []string) (list []redis.UniversalClient, closeAll func()) {
	for _, addr := range addrs {
		list = append(list, clientOf(addr))
	}
	return list, func() {
		for _, c := range list {
			c.Close()
		}
	}
}

func clientOf(addr string) redis.UniversalClient {
	if shards, ok := strings.CutPrefix(addr, ring); ok {
		byName := make(map[string]string)
		for i, shard := range strings.Split(shards, "+") {
			byName[strconv.Itoa(i)] = shard
		}
		return redis.NewRing(&redis.RingOptions{Addrs: byName})
	}
	if seeds, ok := strings.CutPrefix(addr, cluster); ok {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(seeds, "+")})
	}
	return redis.NewClient(&redis.Options{Addr: addr})
}

func openNogap(addrs []string) (Lock, func(), error) {
	list, closeAll := Clients(addrs)
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

func openRedsync(addrs []string) (Lock, func(), error) {
	list, closeAll := Clients(addrs)
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
			_, err := m.UnlockContext(context.WithoutCancel(ctx)) // it would leave the lock held
			return err
		}, nil
	}, closeAll, nil
}

func openRedislock(addrs []string) (Lock, func(), error) {
	list, closeAll := Clients(addrs)
	locker := redislock.New(list[0])
	return func(ctx context.Context, name string) (func() error, error) {
		l, err := locker.Obtain(ctx, "redislock:"+name, 8*time.Second, &redislock.Options{
			RetryStrategy: redislock.LinearBackoff(100 * time.Millisecond),
		})
		if err != nil {
			return nil, err
		}
		return func() error { return l.Release(context.WithoutCancel(ctx)) }, nil
	}, closeAll, nil
}

func openRueidislock(addrs []string) (Lock, func(), error) {
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
