//go:build unix

package together_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

var counted = atomic.VersionColumn("version")

// writers change the pen while an editor has it open. What they leave must still be there when the editor is refused.
var writers = []struct {
	name   string
	do     func(*testing.T, *sql.DB)
	stock  int64
	status string
	bumps  int64 // how often the version was counted up; 0: at least once
}{
	{"Decrement", func(t *testing.T, db *sql.DB) {
		left, err := counter(t, db, counted).Decrement(t.Context(), 60, "pen")
		require.NoError(t, err)
		require.EqualValues(t, 40, left)
	}, 40, "new", 1},
	{"DecrementIfPositive", func(t *testing.T, db *sql.DB) {
		left, err := counter(t, db, counted).DecrementIfPositive(t.Context(), "pen")
		require.NoError(t, err)
		require.EqualValues(t, 99, left)
	}, 99, "new", 1},
	{"Increment", func(t *testing.T, db *sql.DB) {
		sum, err := counter(t, db, counted).Increment(t.Context(), 60, "pen")
		require.NoError(t, err)
		require.EqualValues(t, 160, sum)
	}, 160, "new", 1},
	{"IncrementUpTo", func(t *testing.T, db *sql.DB) {
		sum, err := counter(t, db, counted).IncrementUpTo(t.Context(), 60, 160, "pen")
		require.NoError(t, err)
		require.EqualValues(t, 160, sum)
	}, 160, "new", 1},
	{"CompareAndSet", func(t *testing.T, db *sql.DB) {
		require.NoError(t, counter(t, db, counted).CompareAndSet(t.Context(), 100, 40, "pen"))
	}, 40, "new", 1},
	{"CompareAndSet to the same", func(t *testing.T, db *sql.DB) {
		require.NoError(t, counter(t, db, counted).CompareAndSet(t.Context(), 100, 100, "pen"))
	}, 100, "new", 1},
	{"Transfer", func(t *testing.T, db *sql.DB) {
		require.NoError(t, counter(t, db, counted).Transfer(t.Context(), 60, atomic.Key{"pen"}, atomic.Key{"cup"}))
	}, 40, "new", 1},
	{"DecrementAll", func(t *testing.T, db *sql.DB) {
		require.NoError(t, counter(t, db, counted).DecrementAll(t.Context(), []atomic.Item[int64]{
			{Key: atomic.Key{"pen"}, N: 30}, {Key: atomic.Key{"cup"}, N: 1}, {Key: atomic.Key{"pen"}, N: 30},
		}))
	}, 40, "new", 2},
	{"decimals", func(t *testing.T, db *sql.DB) {
		stock, err := atomic.NewCounter[string](db, "items", "stock", counted)
		require.NoError(t, err)
		left, err := stock.Decrement(t.Context(), "60", "pen")
		require.NoError(t, err)
		require.Equal(t, "40", left)
	}, 40, "new", 1},
	{"in a transaction", func(t *testing.T, db *sql.DB) {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		left, err := counter(t, db, counted).WithTx(tx).Decrement(t.Context(), 60, "pen")
		require.NoError(t, err)
		require.EqualValues(t, 40, left)
		require.NoError(t, tx.Commit())
	}, 40, "new", 1},
	{"Coalesce", func(t *testing.T, db *sql.DB) {
		hot := atomic.Coalesce(counter(t, db, counted))
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if _, err := hot.DecrementIfPositive(context.Background(), "pen"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.NoError(t, hot.Close())
	}, 40, "new", 0},
	{"State", func(t *testing.T, db *sql.DB) {
		require.NoError(t, state(t, db, counted).Transition(t.Context(), "new", "sold out", "pen"))
	}, 100, "sold out", 1},
	{"WithRowLock", func(t *testing.T, db *sql.DB) {
		err := pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: "pen"},
			func(ctx context.Context, tx *sqlx.Tx, item *Item) error {
				_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = ?, version = version + 1 WHERE id = ?"), item.Stock-60, item.ID)
				return err
			})
		require.NoError(t, err)
	}, 40, "new", 1},
}

func TestEditorConflictsWithOtherPackages(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target)
		table := editor(t, db)
		for _, w := range writers {
			t.Run(w.name, func(t *testing.T) {
				fill(t, db)
				pen, err := table.Get(t.Context(), "pen")
				require.NoError(t, err)
				w.do(t, db)

				pen.Name = "fountain pen"
				require.ErrorIs(t, table.Update(t.Context(), pen), optimistic.ErrVersionConflict)
				stock, version := row(t, db)
				require.Equal(t, w.stock, stock)
				if w.bumps == 0 {
					require.Greater(t, version, int64(7))
					require.LessOrEqual(t, version, int64(67))
				} else {
					require.Equal(t, 7+w.bumps, version)
				}

				pen, err = table.Modify(t.Context(), func(it *Item) error { it.Name = "fountain pen"; return nil }, "pen")
				require.NoError(t, err)
				require.Equal(t, &Item{ID: "pen", Name: "fountain pen", Stock: w.stock, Status: w.status, Version: version + 1}, pen)
			})
		}
	})
}

func TestWhatWritesNothingCountsNothingUp(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target)
		ctx := t.Context()
		stock, status := counter(t, db, counted), state(t, db, counted)
		_, err := stock.Decrement(ctx, 101, "pen")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		_, err = stock.IncrementUpTo(ctx, 1, 100, "pen")
		require.ErrorIs(t, err, atomic.ErrLimit)
		require.ErrorIs(t, stock.CompareAndSet(ctx, 99, 1, "pen"), atomic.ErrMismatch)
		require.ErrorIs(t, status.Transition(ctx, "sold", "new", "pen"), atomic.ErrMismatch)
		left, err := stock.Decrement(ctx, 0, "pen")
		require.NoError(t, err)
		require.EqualValues(t, 100, left)
		err = stock.DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{"cup"}, N: 101}, {Key: atomic.Key{"pen"}, N: 1}})
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		hot := atomic.Coalesce(stock)
		_, err = hot.Decrement(ctx, 101, "pen")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.NoError(t, hot.Close())
		s, version := row(t, db)
		require.Equal(t, [2]int64{100, 7}, [2]int64{s, version})
	})
}

func TestAfterNullComesOne(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target)
		exec(t, db, "UPDATE items SET version = NULL")
		_, err := counter(t, db, counted).Decrement(t.Context(), 1, "pen")
		require.NoError(t, err)
		stock, version := row(t, db)
		require.Equal(t, [2]int64{99, 1}, [2]int64{stock, version})
	})
}

// Each version column is of a type that cannot be counted up. Nothing is written, and the error says so.
func TestVersionThatIsNoNumber(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, typ := range []string{"TIMESTAMP", "VARCHAR(36)"} {
			db := target.Open(t)
			exec(t, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock BIGINT, version "+typ+" NULL)")
			exec(t, db, "INSERT INTO items (id, stock) VALUES ('pen', 100)")
			_, err := counter(t, db, counted).Decrement(t.Context(), 1, "pen")
			require.Error(t, err)
			require.NotErrorIs(t, err, atomic.ErrInsufficient)
			require.NotErrorIs(t, err, sql.ErrNoRows)
			require.ErrorContains(t, err, "only an integer can be counted up")
			require.ErrorContains(t, err, `optimistic.ReadOnly("stock")`)
			var stock int64
			require.NoError(t, db.QueryRow("SELECT stock FROM items WHERE version IS NULL").Scan(&stock))
			require.EqualValues(t, 100, stock)
		}
	})
}
