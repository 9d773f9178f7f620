package main

import (
	"context"
)

// likeStory likes a post. Each user may do so once, and presses the button several times.
var likeStory = &story{
	name:   "like",
	about:  "several taps of one user like a post, which is liked twice",
	scene:  `%d taps on "like" at once, by %d users, who may like the post once each.`,
	noun:   "user",
	action: "like",
	strategies: []strategy{
		{name: "unsafe", about: "look for the like, add it, count it: the bug", open: openUnsafeLike, tables: likesTable},
		{name: "atomic", about: "add the like if it is not there, then count it", safe: true,
			open: openAtomicLike, tables: uniqueLikesTable},
		{name: "pessimistic", about: "lock the post, look for the like, add it, count it", safe: true,
			open: openPessimisticLike, tables: likesTable},
		{name: "transaction", about: "add the like and count it: both or neither", safe: true,
			open: openTransactionLike, tables: uniqueLikesTable},
		{name: "atomic-coalesced", about: "add the like, and count all who wait in one UPDATE", safe: true,
			open: openCoalescedLike, tables: uniqueLikesTable},
	},
	tables: func(s shop) []string {
		return []string{"CREATE TABLE " + s.table + " (id BIGINT PRIMARY KEY, likes BIGINT NOT NULL)"}
	},
	fill: func(ctx context.Context, s shop, _ int64, _ int) error {
		if err := s.exec(ctx, "DELETE FROM "+s.table); err != nil {
			return err
		}
		return s.exec(ctx, "INSERT INTO "+s.table+" (id, likes) VALUES (?, 0)", post)
	},
	look: func(ctx context.Context, s shop, user int64) (int64, error) {
		return s.number(ctx, "SELECT 1 - COUNT(*) FROM "+s.likes()+" WHERE post = ? AND user_id = ?", post, user)
	},
	left: func(ctx context.Context, s shop, _ int64, stock int) (int64, error) {
		likes, err := s.number(ctx, "SELECT likes FROM "+s.table+" WHERE id = ?", post)
		return int64(stock) - likes, err
	},
	target: neighbours,
	advice: func(func(string) float64) []string {
		return []string{"Use atomic.Set for what may be there once: the unique index lets one in.",
			"Use transaction if it is counted too: a crash between the two leaves neither."}
	},
	cures: []string{"atomic", "transaction"},
	words: words{
		column: "liked", rest: "likes", restOf: func(stock, left int64) int64 { return stock - left },
		accepted: "counted %s", item: "like", only: "only %d users could like the post",
		taken: "are in the post's count",
		again: "%d liked again", exactly: "%d liked once", some: "%d of %d liked",
		buyer: "tap", both: "both like",
		reads: func(int64) string { return "finds no like" },
		write: func(int64) string { return "adds one, counted" },
	},
}

const errLiked refusal = "liked already"

// post is the id of the post that everybody likes.
const post int64 = 1

func (s shop) likes() string { return s.table + "_likes" }

// likesTable makes the table as it is before one thinks of the gap: nothing in it keeps a user's like from being there twice.
func likesTable(s shop) []string {
	return []string{"CREATE TABLE " + s.likes() +
		" (id VARCHAR(40) PRIMARY KEY, post BIGINT NOT NULL, user_id BIGINT NOT NULL)",
		"CREATE INDEX " + s.likes() + "_user ON " + s.likes() + " (post, user_id)"}
}

func uniqueLikesTable(s shop) []string {
	return []string{"CREATE TABLE " + s.likes() +
		" (post BIGINT NOT NULL, user_id BIGINT NOT NULL, PRIMARY KEY (post, user_id))"}
}
