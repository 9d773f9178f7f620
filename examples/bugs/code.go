package bugs

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

type code struct {
	Credits int64 `db:"credits"`
}

// redeemWithGap gives the credits of a code to everybody who has looked before somebody has marked it.
func (s *service) redeemWithGap(ctx context.Context, name, account string) error {
	var credits int64
	var used bool
	err := s.db.QueryRowContext(ctx, "SELECT credits, used_at IS NOT NULL FROM codes WHERE code = ?", name).Scan(&credits, &used)
	if err != nil {
		return err
	}
	if used {
		return errUsed
	}
	if _, err := s.db.ExecContext(ctx, "UPDATE codes SET used_at = CURRENT_TIMESTAMP WHERE code = ?", name); err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, "UPDATE accounts SET credits = credits + ? WHERE id = ?", credits, account)
	return err
}

// redeem marks the code by a statement that one caller wins, in one transaction with the credits.
func (s *service) redeem(ctx context.Context, name, account string) error {
	return transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		c, err := s.codes.WithTx(tx).Use(ctx, name)
		if errors.Is(err, atomic.ErrUsed) {
			return errUsed
		}
		if err != nil {
			return err
		}
		_, err = s.credits.WithTx(tx).Increment(ctx, c.Credits, account)
		return err
	})
}
