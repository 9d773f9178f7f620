package bugs

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

type token struct {
	Account string `db:"account"`
}

// refreshWithGap makes two sessions of one token: the thief's beside the owner's, and nobody is told.
func (s *service) refreshWithGap(ctx context.Context, old, fresh string) error {
	var account string
	var used bool
	row := s.db.QueryRowContext(ctx, "SELECT account, used_at IS NOT NULL FROM refresh_tokens WHERE token = ?", old)
	if err := row.Scan(&account, &used); err != nil {
		return err
	}
	if used {
		return errUsed // stolen: end all sessions of the account
	}
	if _, err := s.db.ExecContext(ctx, "INSERT INTO refresh_tokens (token, account) VALUES (?, ?)", fresh, account); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, "UPDATE refresh_tokens SET used_at = CURRENT_TIMESTAMP WHERE token = ?", old)
	return err
}

// refresh has one winner. Everybody else learns that the token was used.
func (s *service) refresh(ctx context.Context, old, fresh string) error {
	return transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		t, err := s.tokens.WithTx(tx).Use(ctx, old)
		if errors.Is(err, atomic.ErrUsed) {
			return errUsed // stolen: end all sessions of the account
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, tx.Rebind("INSERT INTO refresh_tokens (token, account) VALUES (?, ?)"), fresh, t.Account)
		return err
	})
}
