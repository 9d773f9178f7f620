package main

import (
	"context"
	"fmt"
)

// stockStory sells one item to many buyers.
var stockStory = &story{
	name:   "stock",
	about:  "one item is sold to many buyers, and oversold",
	scene:  `%d buyers press "buy" at once. %d pieces are in stock.`,
	noun:   "item",
	action: "purchase",
	strategies: []strategy{
		{name: "unsafe", about: "read the stock, decide, write it back: the bug", open: openUnsafe},
		{name: "atomic", about: "take one in a single guarded UPDATE", safe: true, open: openAtomic},
		{name: "pessimistic", about: "lock the row, read, decide, write it back", safe: true, open: openPessimistic},
		{name: "optimistic", about: "write if nobody has changed the row since, else again", safe: true, open: openOptimistic},
		{name: "redis-lock", about: "the unsafe code in a lock on one Redis node", safe: true, open: openRedisLock, redis: 1},
		{name: "redlock", about: "the same, on a majority of Redis nodes", safe: true, open: openRedlock, redis: 3},
		{name: "atomic-coalesced", about: "one guarded UPDATE for all who wait", safe: true, open: openCoalesced},
		{name: "optimistic-coalesced", about: "one swap for all who wait", safe: true, open: openOptimisticCoalesced},
	},
	tables: func(s shop) []string {
		return []string{"CREATE TABLE " + s.table +
			" (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 0)"}
	},
	fill: func(ctx context.Context, s shop, first int64, stock int) error {
		return s.exec(ctx, "INSERT INTO "+s.table+" (id, stock) VALUES (?, ?)", first, stock)
	},
	look: func(ctx context.Context, s shop, id int64) (int64, error) {
		return s.number(ctx, "SELECT stock FROM "+s.table+" WHERE id = ?", id)
	},
	left: func(ctx context.Context, s shop, first int64, _ int) (int64, error) {
		return s.number(ctx, "SELECT stock FROM "+s.table+" WHERE id = ?", first)
	},
	target: one,
	advice: func(speed func(string) float64) []string {
		say := []string{"Use atomic for a number in one row: there is no gap in one guarded UPDATE.",
			"Rules written in Go: pessimistic or optimistic."}
		if a, c := speed("atomic"), speed("atomic-coalesced"); a > 0 && c > a {
			say = append(say, fmt.Sprintf("A row that everybody wants: atomic-coalesced, here %.1f × as fast as atomic.", c/a))
		}
		say = append(say, "req/s counts refusals too: compare on your own servers, with -db and -redis.",
			"A Redis lock may outlive its lease: for rows of one database prefer the others.")
		if speed("unsafe") > speed("atomic") && speed("atomic") > 0 {
			say = append(say, "unsafe was faster here than atomic, with answers that are wrong.")
		}
		return say
	},
	cures: []string{"atomic", "pessimistic", "optimistic", "atomic-coalesced"},
	words: words{
		column: "sold", rest: "left", accepted: "sold %s", item: "item", only: "only %d existed", taken: "came off the stock",
		again: "oversold %d", exactly: "sold exactly %d", some: "sold %d of %d",
		buyer: "buyer", both: "both sell",
		reads: func(left int64) string { return fmt.Sprintf("reads %d", left+1) },
		write: func(left int64) string { return fmt.Sprintf("writes %d, sold", left) },
	},
}

const errSoldOut refusal = "sold out"
