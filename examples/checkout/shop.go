package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/transaction"
)

// schema works on PostgreSQL, MySQL, MariaDB and SQLite. Money is in cents.
var schema = []struct{ table, columns string }{
	{"items", "sku varchar(40) PRIMARY KEY, price bigint NOT NULL, stock bigint NOT NULL"},
	{"wallets", "buyer varchar(40) PRIMARY KEY, balance bigint NOT NULL"},
	{"coupons", "code varchar(40) PRIMARY KEY, discount bigint NOT NULL, used bigint NOT NULL, usage_limit bigint NOT NULL"},
	{"orders", "id bigint PRIMARY KEY, buyer varchar(40) NOT NULL, coupon varchar(40) NOT NULL, status varchar(20) NOT NULL, " +
		"discount bigint NOT NULL DEFAULT 0, total bigint, invoice bigint UNIQUE"},
	{"order_lines", "order_id bigint NOT NULL, sku varchar(40) NOT NULL, quantity bigint NOT NULL, PRIMARY KEY (order_id, sku)"},
	{"invoice_numbers", "series varchar(20) PRIMARY KEY, last bigint NOT NULL"},
}

// shop sells what is in a cart to whoever has the money for it. It is safe for concurrent use, and so are any number of shops
// in any number of processes.
type shop struct {
	db       *sql.DB
	status   *atomic.State[string]
	stock    *atomic.Counter[int64]
	coupons  *atomic.Counter[int64]
	wallets  *atomic.Counter[int64]
	invoices *atomic.Counter[int64]
}

func newShop(db *sql.DB) (*shop, error) {
	s := &shop{db: db}
	var errs [5]error
	s.status, errs[0] = atomic.NewState[string](db, "orders", "status")
	s.stock, errs[1] = atomic.NewCounter[int64](db, "items", "stock", atomic.WithKey("sku"))
	s.coupons, errs[2] = atomic.NewCounter[int64](db, "coupons", "used", atomic.WithKey("code"), atomic.Where("used < usage_limit"))
	s.wallets, errs[3] = atomic.NewCounter[int64](db, "wallets", "balance", atomic.WithKey("buyer"))
	s.invoices, errs[4] = atomic.NewCounter[int64](db, "invoice_numbers", "last", atomic.WithKey("series"), atomic.CreateMissing())
	return s, errors.Join(errs[:]...)
}

// receipt is what a buyer gets for an order.
type receipt struct {
	Invoice, Discount, Total int64
}

// checkout pays an order: the cart, the coupon, the money and the invoice, all or nothing. An error of a guard says which of them
// was refused; see refusal. After nogap.ErrOutcomeUnknown the order's status tells what became of it.
//
// All checkouts take their locks in one order, so they wait for one another instead of deadlocking. The invoice number comes
// last, since from then on everybody else waits for this transaction's COMMIT.
func (s *shop) checkout(ctx context.Context, id int64) (receipt, error) {
	var r receipt
	err := transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		r = receipt{} // this function may run more than once
		if err := s.status.WithTx(tx).Transition(ctx, "pending", "paid", id); err != nil {
			return err // an order that is sent twice is paid once
		}
		o, err := loadOrder(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := s.stock.WithTx(tx).DecrementAll(ctx, o.cart()); err != nil {
			return err
		}
		if r.Discount, err = s.redeem(ctx, tx, o.Coupon); err != nil {
			return err
		}
		r.Total = o.price() - r.Discount
		if _, err := s.wallets.WithTx(tx).Decrement(ctx, r.Total, o.Buyer); err != nil {
			return err
		}
		if r.Invoice, err = s.invoices.WithTx(tx).Increment(ctx, 1, series); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, tx.Rebind("UPDATE orders SET discount = ?, total = ?, invoice = ? WHERE id = ?"),
			r.Discount, r.Total, r.Invoice, id)
		return err
	})
	if err != nil {
		return receipt{}, err // not the number of an invoice that was rolled back
	}
	return r, nil
}

// series is the one in which the invoices are numbered. Its row is inserted by the first of them.
const series = "2026"

// redeem uses a coupon and returns its discount. One that has been used up is no reason not to sell: a refusal is not an error
// of the transaction, which goes on.
func (s *shop) redeem(ctx context.Context, tx *sqlx.Tx, code string) (discount int64, err error) {
	if code == "" {
		return 0, nil
	}
	switch _, err = s.coupons.WithTx(tx).Increment(ctx, 1, code); {
	case errors.Is(err, atomic.ErrConditionFailed):
		return 0, nil
	case err != nil:
		return 0, err
	}
	err = tx.GetContext(ctx, &discount, tx.Rebind("SELECT discount FROM coupons WHERE code = ?"), code)
	return discount, err
}

// refusal says in the buyer's words what a guard has refused, or "" if err is another error.
func refusal(err error) string {
	var refused *atomic.RefusedError
	if !errors.As(err, &refused) {
		return ""
	}
	switch refused.Table {
	case "orders":
		return fmt.Sprintf("the order is %v already", refused.Current)
	case "items":
		return fmt.Sprintf("only %v of %v are left", refused.Current, refused.Key[0])
	case "wallets":
		return "there is not enough money"
	}
	return ""
}

// order is what a buyer wants.
type order struct {
	Buyer  string `db:"buyer"`
	Coupon string `db:"coupon"`
	lines  []line
}

type line struct {
	SKU      string `db:"sku"`
	Quantity int64  `db:"quantity"`
	Price    int64  `db:"price"`
}

func loadOrder(ctx context.Context, tx *sqlx.Tx, id int64) (*order, error) {
	var o order
	if err := tx.GetContext(ctx, &o, tx.Rebind("SELECT buyer, coupon FROM orders WHERE id = ?"), id); err != nil {
		return nil, err
	}
	err := tx.SelectContext(ctx, &o.lines, tx.Rebind("SELECT l.sku, l.quantity, i.price FROM order_lines l "+
		"JOIN items i ON i.sku = l.sku WHERE l.order_id = ?"), id)
	return &o, err
}

func (o *order) cart() []atomic.Item[int64] {
	var items []atomic.Item[int64]
	for _, l := range o.lines {
		items = append(items, atomic.Item[int64]{Key: atomic.Key{l.SKU}, N: l.Quantity})
	}
	return items
}

func (o *order) price() (sum int64) {
	for _, l := range o.lines {
		sum += l.Price * l.Quantity
	}
	return sum
}
