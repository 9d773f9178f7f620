package main

import (
	"context"
	"crypto/rand"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/pessimistic"
)

// pessimisticLike locks the post before it looks for the like. It needs no unique index, and all who like the post queue.
type pessimisticLike struct{ shop }

// postRow is what is read of the post.
type postRow struct {
	Likes int64 `db:"likes"`
}

func openPessimisticLike(s shop) (seller, error) { return pessimisticLike{s}, nil }

func (p pessimisticLike) purchase(
	ctx context.Context, user int64, check func(context.Context) error,
) (left int64, err error) {
	return 0, pessimistic.WithRowLock(ctx, p.db, pessimistic.Row{Table: p.table, Key: post},
		func(ctx context.Context, tx *sqlx.Tx, row *postRow) error {
			var likes int
			look := p.rebind("SELECT COUNT(*) FROM " + p.likes() + " WHERE post = ? AND user_id = ?")
			if err := tx.QueryRowContext(ctx, look, post, user).Scan(&likes); err != nil {
				return err
			}
			if likes > 0 {
				return errLiked
			}
			if err := check(ctx); err != nil {
				return err
			}
			insert := p.rebind("INSERT INTO " + p.likes() + " (id, post, user_id) VALUES (?, ?, ?)")
			if _, err := tx.ExecContext(ctx, insert, rand.Text(), post, user); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, p.rebind("UPDATE "+p.table+" SET likes = ? WHERE id = ?"), row.Likes+1, post)
			return err
		})
}
