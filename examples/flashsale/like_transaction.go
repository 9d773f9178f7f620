package main

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

// transactionLike adds the like and counts it in one transaction: the count is right whatever fails in between.
type transactionLike struct {
	shop
	set   *atomic.Set
	count *atomic.Counter[int64]
}

func openTransactionLike(s shop) (seller, error) {
	set, err := atomic.NewSet(s.db, s.likes(), []string{"post", "user_id"})
	if err != nil {
		return nil, err
	}
	count, err := atomic.NewCounter[int64](s.db, s.table, "likes")
	return transactionLike{s, set, count}, err
}

func (t transactionLike) purchase(
	ctx context.Context, user int64, check func(context.Context) error,
) (left int64, err error) {
	if err := check(ctx); err != nil { // not in the callback, which may be called again
		return 0, err
	}
	return 0, transaction.Run(ctx, t.db, func(ctx context.Context, tx *sqlx.Tx) error {
		added, err := t.set.WithTx(tx).Add(ctx, post, user)
		if err != nil {
			return err
		}
		if !added {
			return errLiked
		}
		_, err = t.count.WithTx(tx).Increment(ctx, 1, post)
		return err
	})
}
