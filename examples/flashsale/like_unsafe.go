package main

import (
	"context"
	"crypto/rand"
)

// unsafeLike looks for the user's like and adds it if there is none. Taps that look in between find none either.
type unsafeLike struct{ shop }

func openUnsafeLike(s shop) (seller, error) { return unsafeLike{s}, nil }

func (u unsafeLike) purchase(
	ctx context.Context, user int64, check func(context.Context) error,
) (left int64, err error) {
	likes, err := u.number(ctx, "SELECT COUNT(*) FROM "+u.likes()+" WHERE post = ? AND user_id = ?", post, user)
	if err != nil {
		return 0, err
	}
	if likes > 0 {
		return 0, errLiked
	}
	if err := check(ctx); err != nil {
		return 0, err
	}
	insert := "INSERT INTO " + u.likes() + " (id, post, user_id) VALUES (?, ?, ?)"
	if err := u.exec(ctx, insert, rand.Text(), post, user); err != nil {
		return 0, err
	}
	return 0, u.exec(ctx, "UPDATE "+u.table+" SET likes = likes + 1 WHERE id = ?", post)
}
