package main

import (
	"context"

	"github.com/nogap-go/nogap/atomic"
)

// atomicLike adds the like in one statement, which the unique index lets succeed once. The one who has added it counts it.
type atomicLike struct {
	likes *atomic.Set
	count incrementer
}

// incrementer is what a Counter and a Coalescer have in common.
type incrementer interface {
	Increment(ctx context.Context, n int64, key ...any) (int64, error)
}

func openAtomicLike(s shop) (seller, error) {
	likes, err := atomic.NewSet(s.db, s.likes(), []string{"post", "user_id"})
	if err != nil {
		return nil, err
	}
	count, err := atomic.NewCounter[int64](s.db, s.table, "likes")
	return atomicLike{likes, count}, err
}

func (a atomicLike) purchase(
	ctx context.Context, user int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	added, err := a.likes.Add(ctx, post, user)
	if err != nil {
		return 0, err
	}
	if !added {
		return 0, errLiked
	}
	_, err = a.count.Increment(ctx, 1, post)
	return 0, err
}
