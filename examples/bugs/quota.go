package bugs

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/atomic"
)

// spendWithGap looks whether there are enough credits, and takes them whatever came in between.
func (s *service) spendWithGap(ctx context.Context, account string, cost int64) error {
	var credits int64
	if err := s.db.QueryRowContext(ctx, "SELECT credits FROM accounts WHERE id = ?", account).Scan(&credits); err != nil {
		return err
	}
	if credits < cost {
		return errNoCredits
	}
	_, err := s.db.ExecContext(ctx, "UPDATE accounts SET credits = credits - ? WHERE id = ?", cost, account)
	return err
}

// spend looks and takes in one statement.
func (s *service) spend(ctx context.Context, account string, cost int64) error {
	_, err := s.credits.Decrement(ctx, cost, account)
	if errors.Is(err, atomic.ErrInsufficient) {
		return errNoCredits
	}
	return err
}
