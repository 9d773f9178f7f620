//go:build unix

package scenarios

import (
	"context"
	"database/sql"

	"github.com/cockroachdb/cockroach-go/v2/crdb"
	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"gorm.io/gorm"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/transaction"
)

var twoWrites = contest.Scenario{
	Name:       "transaction",
	Task:       "Take one from each of two rows in a transaction, in any order, so that callers deadlock.",
	Places:     places.SQL,
	NewSubject: itemsOf(2),
	Ways: []contest.Way{
		{Name: "transaction.Run", Kind: contest.Nogap, Open: transactionRun},
		{Name: "BEGIN, retried", Kind: contest.ByHand, Open: beginRetried},
		{Name: "crdb.ExecuteTx", Kind: contest.Rival, Open: executeTx, On: on(nogap.Postgres)},
		{Name: "GORM Transaction", Kind: contest.Rival, Open: gormTransaction},
		{Name: "bun RunInTx", Kind: contest.Rival, Open: bunRunInTx},
	},
}

// takeBoth takes one from each of two rows.
func takeBoth(ctx context.Context, s *contest.Stage, tx nogap.Tx, update string) error {
	a, b := twoRows(s)
	for _, id := range []int64{a, b} {
		if _, err := tx.ExecContext(ctx, update, id); err != nil {
			return err
		}
	}
	return nil
}

const takeOne = "UPDATE items SET stock = stock - 1 WHERE id = ? AND stock >= 1"

func transactionRun(_ context.Context, s *contest.Stage) (contest.Call, error) {
	update := bind(s, takeOne)
	return func(ctx context.Context, _ int) error {
		return transaction.Run(ctx, s.DB, func(ctx context.Context, tx *sqlx.Tx) error { return takeBoth(ctx, s, tx, update) })
	}, nil
}

func beginRetried(_ context.Context, s *contest.Stage) (contest.Call, error) {
	update := bind(s, takeOne)
	return func(ctx context.Context, _ int) error {
		return again(ctx, func() (bool, error) {
			err := inTx(ctx, s, nil, func(tx nogap.Tx) error { return takeBoth(ctx, s, tx, update) })
			if nogap.Retryable(err) {
				return false, nil
			}
			return err == nil, err
		})
	}, nil
}

// executeTx runs again after a serialization failure, and not after a deadlock.
func executeTx(_ context.Context, s *contest.Stage) (contest.Call, error) {
	update := bind(s, takeOne)
	return func(ctx context.Context, _ int) error {
		return crdb.ExecuteTx(ctx, s.DB, nil, func(tx *sql.Tx) error { return takeBoth(ctx, s, tx, update) })
	}, nil
}

// gormTransaction does not run again.
func gormTransaction(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db, err := openGORM(s)
	return func(ctx context.Context, _ int) error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			a, b := twoRows(s)
			for _, id := range []int64{a, b} {
				err := tx.Model(&item{}).Where("id = ? AND stock >= 1", id).Update("stock", gorm.Expr("stock - 1")).Error
				if err != nil {
					return err
				}
			}
			return nil
		})
	}, err
}

// bunRunInTx does not run again.
func bunRunInTx(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db := openBun(s)
	return func(ctx context.Context, _ int) error {
		return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			a, b := twoRows(s)
			for _, id := range []int64{a, b} {
				_, err := tx.NewUpdate().Model((*item)(nil)).Set("stock = stock - 1").Where("id = ? AND stock >= 1", id).Exec(ctx)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}, nil
}

var transfer = contest.Scenario{
	Name:       "transfer",
	Task:       "Move one from a row to another one, if it is there.",
	Places:     places.SQL,
	NewSubject: itemsOf(0),
	Ways: []contest.Way{
		{Name: "atomic.Transfer", Kind: contest.Nogap, Open: atomicTransfer},
		{Name: "BEGIN, in order", Kind: contest.ByHand, Open: inOrder},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenMove},
	},
}

func atomicTransfer(_ context.Context, s *contest.Stage) (contest.Call, error) {
	c, err := atomic.NewCounter[int64](s.DB, "items", "stock")
	return func(ctx context.Context, _ int) error {
		from, to := twoRows(s)
		return c.Transfer(ctx, 1, atomic.Key{from}, atomic.Key{to})
	}, err
}

// changeOne changes the row of an id, and returns errSoldOut if the statement finds none to change.
func changeOne(ctx context.Context, tx nogap.Tx, statement string, id int64) error {
	res, err := tx.ExecContext(ctx, statement, id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errSoldOut
	}
	return nil
}

// inOrder writes the two rows in the order of their ids, so that callers don't deadlock.
func inOrder(_ context.Context, s *contest.Stage) (contest.Call, error) {
	takeFrom, giveTo := bind(s, takeOne), bind(s, "UPDATE items SET stock = stock + 1 WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		from, to := twoRows(s)
		return inTx(ctx, s, nil, func(tx nogap.Tx) error {
			for _, id := range []int64{min(from, to), max(from, to)} {
				statement := giveTo
				if id == from {
					statement = takeFrom
				}
				if err := changeOne(ctx, tx, statement, id); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil
}

func readThenMove(_ context.Context, s *contest.Stage) (contest.Call, error) {
	read := bind(s, "SELECT stock FROM items WHERE id = ?")
	write := bind(s, "UPDATE items SET stock = ? WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		from, to := twoRows(s)
		var has, gets int64
		if err := s.DB.QueryRowContext(ctx, read, from).Scan(&has); err != nil {
			return err
		}
		if err := s.DB.QueryRowContext(ctx, read, to).Scan(&gets); err != nil {
			return err
		}
		if _, err := s.DB.ExecContext(ctx, write, has-1, from); err != nil {
			return err
		}
		_, err := s.DB.ExecContext(ctx, write, gets+1, to)
		return err
	}, nil
}
