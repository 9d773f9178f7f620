//go:build unix

package scenarios

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/pessimistic"
)

var namedLock = contest.Scenario{
	Name:       "named-lock",
	Task:       "Read and write a row under a lock of a name in the database.",
	Places:     places.SomeSQL,
	NewSubject: itemsOf(1),
	Ways: []contest.Way{
		{Name: "pessimistic.WithNamedLock", Kind: contest.Nogap, Open: withNamedLock},
		{Name: "pg_advisory_xact_lock", Kind: contest.ByHand, Open: advisoryLock, On: on(nogap.Postgres)},
		{Name: "BEGIN IMMEDIATE", Kind: contest.ByHand, Open: advisoryLock, On: on(nogap.SQLite)},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenWrite},
	},
}

// readAndWrite is not safe without the lock.
func readAndWrite(s *contest.Stage) func(ctx context.Context, tx nogap.Tx) error {
	read := bind(s, "SELECT stock FROM items WHERE id = ?")
	write := bind(s, "UPDATE items SET stock = ? WHERE id = ?")
	return func(ctx context.Context, tx nogap.Tx) error {
		var stock int64
		if err := tx.QueryRowContext(ctx, read, 1).Scan(&stock); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, write, stock-1, 1)
		return err
	}
}

func withNamedLock(_ context.Context, s *contest.Stage) (contest.Call, error) {
	work := readAndWrite(s)
	return func(ctx context.Context, _ int) error {
		return pessimistic.WithNamedLock(ctx, s.DB, "invoice-2026", func(ctx context.Context, tx *sqlx.Tx) error { return work(ctx, tx) })
	}, nil
}

func advisoryLock(_ context.Context, s *contest.Stage) (contest.Call, error) {
	work := readAndWrite(s)
	return func(ctx context.Context, _ int) error {
		return inTx(ctx, s, nil, func(tx nogap.Tx) error {
			if s.Dialect == nogap.Postgres {
				if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(2026)"); err != nil {
					return err
				}
			}
			return work(ctx, tx)
		})
	}, nil
}
