//go:build unix

package together_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// An Update that a ROLLBACK TO SAVEPOINT has undone leaves the item with the version that was read. Another writer then gives
// the row the version that the item would have got, and a later Update of the item must not overwrite what that one wrote.
func TestUpdateUndoneByASavepoint(t *testing.T) {
	for name, inTx := range map[string]func(ctx context.Context, db *sql.DB, f func(context.Context, nogap.Tx) error) error{
		"Run": func(ctx context.Context, db *sql.DB, f func(context.Context, nogap.Tx) error) error {
			return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error { return f(ctx, tx) })
		},
		"WithRowLock": func(ctx context.Context, db *sql.DB, f func(context.Context, nogap.Tx) error) error {
			return pessimistic.WithRowLock(ctx, db, penRow, func(ctx context.Context, tx *sqlx.Tx, _ *Item) error { return f(ctx, tx) })
		},
		"a transaction of the caller's": func(ctx context.Context, db *sql.DB, f func(context.Context, nogap.Tx) error) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := f(ctx, tx); err != nil {
				return err
			}
			return tx.Commit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			targets := append(append(matrix.All(), matrix.PgBouncer()...), matrix.Clusters()...)
			matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
				db := items(t, target)
				table, ctx := editor(t, db), t.Context()
				it, err := table.Get(ctx, "pen")
				require.NoError(t, err)
				read := it.Version
				require.NoError(t, inTx(ctx, db, func(ctx context.Context, tx nogap.Tx) error {
					for _, step := range []func() error{
						sqlStep(ctx, tx, "SAVEPOINT undone"),
						func() error {
							it.Stock = 1
							return table.WithTx(tx).Update(ctx, it)
						},
						sqlStep(ctx, tx, "ROLLBACK TO SAVEPOINT undone"),
					} {
						if err := step(); err != nil {
							return err
						}
					}
					return nil
				}))
				require.Equal(t, read, it.Version, "nobody knows whether the write stands")
				exec(t, db, "UPDATE items SET stock = 50, version = version + 1 WHERE id = 'pen'")

				require.ErrorIs(t, table.Update(ctx, it), optimistic.ErrVersionConflict)
				stock, version := row(t, db)
				require.Equal(t, [2]int64{50, read + 1}, [2]int64{stock, version})
			})
		})
	}
}

func sqlStep(ctx context.Context, tx nogap.Tx, query string) func() error {
	return func() error {
		_, err := tx.ExecContext(ctx, query)
		return err
	}
}
