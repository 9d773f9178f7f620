package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
)

func acrossServers(ctx context.Context, db *sql.DB, a, b, c redis.UniversalClient) error {
	locks, err := distlock.New([]redis.UniversalClient{a, b, c}) // once; or one server
	if err != nil {
		return err
	}
	defer locks.Close()
	fence, err := distlock.NewFence(db, "lock_fences") // once
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, fence.Schema(nogap.SQLite)); err != nil { // CREATE TABLE, in a migration
		return err
	}

	err = locks.WithLock(ctx, "report", func(ctx context.Context, lease *distlock.Lease) error {
		token, err := fence.Mint(ctx, lease)
		if err != nil {
			return err
		}
		// The work goes here. ctx ends if the lock is lost meanwhile.
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fence.Guard(ctx, tx, token); err != nil {
			return err // ErrFenced: a later holder exists
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO reports SELECT 'Monday', SUM(stock) FROM items"); err != nil {
			return err
		}
		return tx.Commit()
	})
	if err != nil {
		return err
	}
	fmt.Println("the report is written")
	return nil
}
