package bugs

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/pessimistic"
)

type coupon struct {
	Code       string `db:"code"`
	UsageLimit int64  `db:"usage_limit"`
}

// applyWithGap counts, and inserts whatever came in between.
func (s *service) applyWithGap(ctx context.Context, name, account string) error {
	var limit, used int64
	err := s.db.QueryRowContext(ctx, "SELECT usage_limit FROM coupons WHERE code = ?", name).Scan(&limit)
	if err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM redemptions WHERE coupon = ?", name).Scan(&used); err != nil {
		return err
	}
	if used >= limit {
		return errUsed
	}
	_, err = s.db.ExecContext(ctx, "INSERT INTO redemptions (coupon, account) VALUES (?, ?)", name, account)
	return err
}

// apply counts and inserts while it holds the row of the coupon: one redemption of it at a time.
func (s *service) apply(ctx context.Context, name, account string) error {
	return pessimistic.WithRowLock(ctx, s.db, pessimistic.Row{Table: "coupons", KeyColumns: []string{"code"}, Key: name},
		func(ctx context.Context, tx *sqlx.Tx, c *coupon) error {
			var used int64
			if err := tx.GetContext(ctx, &used, tx.Rebind("SELECT COUNT(*) FROM redemptions WHERE coupon = ?"), name); err != nil {
				return err
			}
			if used >= c.UsageLimit {
				return errUsed
			}
			_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO redemptions (coupon, account) VALUES (?, ?)"), name, account)
			return err
		})
}
