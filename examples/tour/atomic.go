package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
)

func closeTheGap(ctx context.Context, db *sql.DB) error {
	// CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT NOT NULL)
	stock, err := atomic.NewCounter[int64](db, "items", "stock") // once; db is your *sql.DB
	if err != nil {
		return err
	}
	left, err := stock.DecrementIfPositive(ctx, "sku-1")
	switch {
	case err == nil:
		fmt.Println(left, "left")
	case errors.Is(err, atomic.ErrInsufficient):
		fmt.Println("sold out")
	case errors.Is(err, sql.ErrNoRows):
		fmt.Println("no such item")
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		fmt.Println("sold or not: see docs/outcome-unknown.md")
	default:
		return err // nothing was written
	}

	hot := atomic.Coalesce(stock) // once
	defer hot.Close()
	left, err = hot.DecrementIfPositive(ctx, "sku-1")
	fmt.Println(left, "left")
	return err
}

// Reset is a row of password_resets.
type Reset struct {
	Code   string `db:"code"`
	UserID int64  `db:"user_id"`
}

func useOnce(ctx context.Context, db *sql.DB) error {
	resets, err := atomic.NewSingleUse[Reset](db, "password_resets",
		atomic.WithKey("code"), atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"))
	if err != nil {
		return err
	}
	reset, err := resets.Use(ctx, "c0de") // the row, once; else ErrUsed, ErrExpired or sql.ErrNoRows
	if err != nil {
		return err
	}
	fmt.Println("user", reset.UserID, "may set a password")
	_, err = resets.Use(ctx, "c0de")
	fmt.Println(errors.Is(err, atomic.ErrUsed))
	return nil
}

var errLookFirst = errors.New("we don't know whether it was sold")

func outcomes(ctx context.Context, db *sql.DB) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		return err
	}
	left, err := sell(ctx, stock, "sku-1")
	fmt.Println(left, "left")
	return err
}

func sell(ctx context.Context, stock *atomic.Counter[int64], sku string) (int64, error) {
	left, err := stock.Decrement(ctx, 1, sku)
	switch {
	case err == nil:
		return left, nil
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		return 0, errLookFirst // 1, 2 or 3
	default:
		return 0, err // nothing was written: try again, if you like
	}
}
