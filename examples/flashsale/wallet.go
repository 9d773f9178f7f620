package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/idempotency"
)

// walletStory pays from wallets in which there is money for one payment each. Each wallet is asked by several requests at
// once, as when a button is pressed again because no answer has come.
var walletStory = &story{
	name:   "wallet",
	about:  "several requests pay from one wallet, which is spent twice",
	scene:  `%d requests pay at once from %d wallets, each with the money for one payment.`,
	noun:   "wallet",
	action: "payment",
	strategies: []strategy{
		{name: "unsafe", about: "read the balance, decide, write it back: the bug", open: openUnsafeWallet},
		{name: "atomic", about: "take the money in a single guarded UPDATE", safe: true, open: openAtomicWallet},
		{name: "pessimistic", about: "lock the wallet, read, decide, write it back", safe: true, open: openPessimisticWallet},
		{name: "optimistic", about: "write if nobody has changed the wallet since, else again", safe: true,
			open: openOptimisticWallet},
		{name: "transaction", about: "take the money and write a payment: both or neither", safe: true,
			open: openTransactionWallet, tables: paymentsTable},
		{name: "idempotency", about: "one effect for each payment, however often it comes", safe: true,
			open: openIdempotentWallet, tables: keysTable},
	},
	tables: func(s shop) []string {
		return []string{"CREATE TABLE " + s.table +
			" (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 0)"}
	},
	fill: func(ctx context.Context, s shop, first int64, stock int) error {
		if stock == 0 { // one wallet, and nothing in it
			return s.exec(ctx, "INSERT INTO "+s.table+" (id, balance) VALUES (?, 0)", first)
		}
		const most = 1000 // in one statement
		for from := 0; from < stock; from += most {
			var rows []string
			for i := from; i < min(from+most, stock); i++ {
				rows = append(rows, fmt.Sprintf("(%d, 1)", first+int64(i)))
			}
			if err := s.exec(ctx, "INSERT INTO "+s.table+" (id, balance) VALUES "+strings.Join(rows, ", ")); err != nil {
				return err
			}
		}
		return nil
	},
	look: func(ctx context.Context, s shop, id int64) (int64, error) {
		return s.number(ctx, "SELECT balance FROM "+s.table+" WHERE id = ?", id)
	},
	left: func(ctx context.Context, s shop, first int64, stock int) (int64, error) {
		return s.number(ctx, "SELECT SUM(balance) FROM "+s.table+" WHERE id >= ? AND id < ?", first, first+int64(max(1, stock)))
	},
	target: neighbours,
	advice: func(func(string) float64) []string {
		return []string{"Use atomic for the balance alone.",
			"Use transaction if the payment is written too: both or neither.",
			"Use idempotency if a request may come again: it gets the first one's result."}
	},
	cures: []string{"atomic", "transaction", "idempotency"},
	words: words{
		column: "paid", rest: "money", accepted: "accepted %s", item: "payment", only: "there was money for %d",
		taken: "came out of the wallets",
		again: "%d paid again", exactly: "%d paid once", some: "%d of %d paid",
		buyer: "request", both: "both pay",
		reads: func(left int64) string { return fmt.Sprintf("reads %d", left+1) },
		write: func(left int64) string { return fmt.Sprintf("writes %d, paid", left) },
	},
}

const (
	errNoMoney refusal = "not enough money"
	errPaid    refusal = "paid already"
)

func (s shop) payments() string { return s.table + "_payments" }
func (s shop) keys() string     { return s.table + "_keys" }

func paymentsTable(s shop) []string {
	return []string{"CREATE TABLE " + s.payments() + " (id VARCHAR(40) PRIMARY KEY, wallet BIGINT NOT NULL)"}
}

func keysTable(s shop) []string {
	keys, err := idempotency.New[receipt](s.db, s.keys(), idempotency.WithDialect(s.dialect))
	if err != nil {
		panic(err) // the name of the table is this program's
	}
	return []string{keys.Schema(s.dialect)}
}
