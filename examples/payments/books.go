package main

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/jmoiron/sqlx"
)

// books compare the shop's payments with the provider's charges and with what customers were told.
type books struct {
	paid, refused, pending int
	twice                  int // customers who were charged more than once
	lost                   int // charges whose payment is not paid
	unpaid                 int // payments that are paid and were not charged, or with another amount
	otherwise              int // receipts that say something else than the payment
}

func audit(ctx context.Context, db *sql.DB, p *provider, t *told) (b books, err error) {
	var payments []struct {
		ID       int64
		Customer string
		Amount   string
		Status   string
	}
	if err := sqlx.NewDb(db, "sqlite").SelectContext(ctx, &payments, "SELECT id, customer, amount, status FROM payments"); err != nil {
		return b, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	charged, statuses := map[string]int{}, map[int64]string{}
	for _, payment := range payments {
		statuses[payment.ID] = payment.Status
		c, asked := p.charges[strconv.Quote("payment-"+strconv.FormatInt(payment.ID, 10))]
		taken := asked && !c.refused
		if taken {
			charged[payment.Customer]++
		}
		switch payment.Status {
		case "paid":
			b.paid++
			if !taken || c.amount != payment.Amount {
				b.unpaid++
			}
		case "refused":
			b.refused++
		default:
			b.pending++
		}
		if taken && payment.Status != "paid" {
			b.lost++
		}
	}
	for _, n := range charged {
		if n > 1 {
			b.twice++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, receipts := range t.receipts {
		for _, r := range receipts {
			if r != receipts[0] || statuses[r.Payment] != r.Status {
				b.otherwise++
			}
		}
	}
	return b, nil
}
