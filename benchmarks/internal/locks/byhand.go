package locks

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// deleteMine deletes a key if it has the value.
var deleteMine = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)

// OpenByHand locks with SET NX on the first node, as the documentation of Redis shows it, and tries again after up to 20 ms.
func OpenByHand(addrs []string) (Lock, func(), error) {
	list, closeAll := Clients(addrs[:1])
	client := list[0]
	return func(ctx context.Context, name string) (func() error, error) {
		name, value := "byhand:"+name, rand.Text()
		for {
			err := client.SetArgs(ctx, name, value, redis.SetArgs{Mode: "NX", TTL: 8 * time.Second}).Err()
			if err == nil {
				break
			}
			if err := wait(ctx, err); err != nil {
				return nil, err
			}
		}
		return func() error {
			return deleteMine.Run(context.WithoutCancel(ctx), client, []string{name}, value).Err()
		}, nil
	}, closeAll, nil
}

// OpenNaive looks whether the key is there, and then sets it. Two callers that look at the same time both hold the lock.
func OpenNaive(addrs []string) (Lock, func(), error) {
	list, closeAll := Clients(addrs[:1])
	client := list[0]
	return func(ctx context.Context, name string) (func() error, error) {
		name = "naive:" + name
		for {
			err := client.Get(ctx, name).Err()
			if err == redis.Nil {
				if err := client.Set(ctx, name, 1, 8*time.Second).Err(); err != nil {
					return nil, err
				}
				break
			}
			if err == nil {
				err = redis.Nil
			}
			if err := wait(ctx, err); err != nil {
				return nil, err
			}
		}
		return func() error { return client.Del(context.WithoutCancel(ctx), name).Err() }, nil
	}, closeAll, nil
}

// wait waits before the next try of a lock that another one has, which err says as redis.Nil.
func wait(ctx context.Context, err error) error {
	if err != redis.Nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(mathrand.N(20 * time.Millisecond)):
		return nil
	}
}
