// Package bugs is the code of docs/bugs.md: races as they stand in real services, made small, each with the gap and without. The
// test plays the orders in which the statements of two requests can meet, and shows one that goes wrong.
package bugs

import (
	"database/sql"
	"errors"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/optimistic"
)

// schema is that of SQLite.
var schema = []string{
	"CREATE TABLE accounts (id TEXT PRIMARY KEY, credits INTEGER NOT NULL)",
	"CREATE TABLE codes (code TEXT PRIMARY KEY, credits INTEGER NOT NULL, used_at TIMESTAMP)",
	"CREATE TABLE lists (id TEXT PRIMARY KEY, last_position INTEGER NOT NULL)",
	"CREATE TABLE cards (title TEXT PRIMARY KEY, list TEXT NOT NULL, position INTEGER NOT NULL)",
	"CREATE TABLE refresh_tokens (token TEXT PRIMARY KEY, account TEXT NOT NULL, used_at TIMESTAMP)",
	"CREATE TABLE coupons (code TEXT PRIMARY KEY, usage_limit INTEGER NOT NULL)",
	"CREATE TABLE redemptions (coupon TEXT NOT NULL, account TEXT NOT NULL)",
	"CREATE TABLE pages (id TEXT PRIMARY KEY, text TEXT NOT NULL, version INTEGER NOT NULL)",
}

var (
	errNoCredits = errors.New("not enough credits")
	errUsed      = errors.New("used already")
	errConflict  = errors.New("somebody else has changed the page")
)

// service is what the code of all pairs needs.
type service struct {
	db        *sql.DB
	credits   *atomic.Counter[int64]
	codes     *atomic.SingleUse[code]
	positions *atomic.Counter[int64]
	tokens    *atomic.SingleUse[token]
	pages     *optimistic.Table[page]
}

func newService(db *sql.DB) (*service, error) {
	s := &service{db: db}
	var errs [5]error
	s.credits, errs[0] = atomic.NewCounter[int64](db, "accounts", "credits")
	s.codes, errs[1] = atomic.NewSingleUse[code](db, "codes", atomic.WithKey("code"), atomic.UsedAt("used_at"))
	s.positions, errs[2] = atomic.NewCounter[int64](db, "lists", "last_position")
	s.tokens, errs[3] = atomic.NewSingleUse[token](db, "refresh_tokens", atomic.WithKey("token"), atomic.UsedAt("used_at"))
	s.pages, errs[4] = optimistic.NewTable[page](db, "pages")
	return s, errors.Join(errs[:]...)
}
