package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/nogapotel"
)

// printer is an Observer that prints.
type printer struct{}

func (printer) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(r nogap.Result) { fmt.Println(op.Name, op.Table, r.Outcome) }
}

func printed(ctx context.Context, db *sql.DB) error {
	stop := nogap.Observe(db, printer{}) // every operation: its name, table, outcome, attempts, time waited
	defer stop()

	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	if err != nil {
		return err
	}
	_, err = stock.Decrement(ctx, 1000, "sku-1")
	if !errors.Is(err, atomic.ErrInsufficient) {
		return fmt.Errorf("a thousand were sold: %w", err)
	}
	return nil
}

// logged logs what happens with log/slog.
func logged(db *sql.DB, clients []redis.UniversalClient) error {
	stop := nogap.Observe(db, nogap.LogObserver(slog.Default()))
	defer stop()
	locks, err := distlock.New(clients, distlock.OnEvent(distlock.LogEvents(slog.Default())))
	if err != nil {
		return err
	}
	return locks.Close()
}

// measured shows what happens to OpenTelemetry.
func measured(db *sql.DB, clients []redis.UniversalClient) error {
	stop := nogapotel.Observe(db)
	defer stop()
	locks, err := distlock.New(clients, nogapotel.Locks()...)
	if err != nil {
		return err
	}
	return locks.Close()
}
