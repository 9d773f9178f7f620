package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// audit returns an error for each sum of the books that is wrong: what was there is what is left and what was sold, and every
// paid order has an invoice, numbered without gaps.
func audit(ctx context.Context, db sqlx.QueryerContext) error {
	var errs []error
	number := func(query string) (n int64) {
		if err := sqlx.GetContext(ctx, db, &n, "SELECT COALESCE("+query+", 0)"); err != nil {
			errs = append(errs, err)
		}
		return n
	}
	check := func(what string, got, want int64) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %d instead of %d", what, got, want))
		}
	}
	const paid = " FROM orders WHERE status = 'paid'"
	const sold = "(SELECT COALESCE(SUM(l.quantity), 0) FROM order_lines l JOIN orders o ON o.id = l.order_id " +
		"WHERE l.sku = i.sku AND o.status = 'paid')"
	check("items that were made or lost", number("(SELECT COUNT(*) FROM items i WHERE i.stock < 0 OR i.stock + "+sold+fmt.Sprintf(" <> %d)", stock)), 0)
	check("wallets in debt", number("(SELECT COUNT(*) FROM wallets WHERE balance < 0)"), 0)
	check("the money", number("(SELECT SUM(balance) FROM wallets)")+number("(SELECT SUM(total)"+paid+")"), buyers*balance)
	used := number("(SELECT SUM(used) FROM coupons)")
	check("orders with a coupon", number("(SELECT COUNT(*)"+paid+" AND discount > 0)"), used)
	if used > coupons {
		errs = append(errs, fmt.Errorf("a coupon for %d orders was used by %d", coupons, used))
	}
	invoices := number("(SELECT COUNT(*)" + paid + ")")
	check("the number of invoices", number("(SELECT COUNT(DISTINCT invoice) FROM orders)"), invoices)
	check("the last invoice", number("(SELECT MAX(invoice) FROM orders)"), invoices)
	check("the counter of invoices", number("(SELECT SUM(last) FROM invoice_numbers)"), invoices)
	return errors.Join(errs...)
}
