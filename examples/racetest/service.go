// Package racetest is a small service with a race, the test that finds it without an invariant, and the service without it:
//
//	go test -C examples ./racetest -v
//
// shows the schedule that goes wrong. The service gives out coupons, each of which is good for a few customers.
package racetest

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

// schema is that of SQLite.
var schema = []string{
	"CREATE TABLE coupons (id TEXT PRIMARY KEY, uses_left INTEGER NOT NULL)",
	"CREATE TABLE redemptions (id INTEGER PRIMARY KEY, coupon TEXT NOT NULL, customer TEXT NOT NULL)",
}

var errUsedUp = errors.New("the coupon is used up")

type service struct {
	db   *sql.DB
	uses *atomic.Counter[int64]
}

func newService(db *sql.DB) (*service, error) {
	uses, err := atomic.NewCounter[int64](db, "coupons", "uses_left")
	return &service{db, uses}, err
}

// redeemWithGap passes every test that has one customer at a time. Each of its statements is right; the gap is between the first and
// the second.
func (s *service) redeemWithGap(ctx context.Context, coupon, customer string) error {
	var left int
	if err := s.db.QueryRowContext(ctx, "SELECT uses_left FROM coupons WHERE id = ?", coupon).Scan(&left); err != nil {
		return err
	}
	if left == 0 {
		return errUsedUp
	}
	if _, err := s.db.ExecContext(ctx, "UPDATE coupons SET uses_left = ? WHERE id = ?", left-1, coupon); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, "INSERT INTO redemptions (coupon, customer) VALUES (?, ?)", coupon, customer)
	return err
}

// redeem has no gap: the number is tested and changed by one statement, in one transaction with the row that says who had it.
func (s *service) redeem(ctx context.Context, coupon, customer string) error {
	return transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		if _, err := s.uses.WithTx(tx).DecrementIfPositive(ctx, coupon); errors.Is(err, atomic.ErrInsufficient) {
			return errUsedUp
		} else if err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO redemptions (coupon, customer) VALUES (?, ?)", coupon, customer)
		return err
	})
}
