//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// change is one call of a Counter's method and what must come of it.
type change struct {
	name string
	do   func(context.Context, *atomic.Counter[int64]) (int64, error)
	want int64
	err  error
	left int64 // in the row
	key  string
}

var changes = []change{
	{"one of five", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.DecrementIfPositive(ctx, "sku-1")
	}, 4, nil, 4, "sku-1"},
	{"one of none", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.DecrementIfPositive(ctx, "sku-0")
	}, 0, atomic.ErrInsufficient, 0, "sku-0"},
	{"all", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.Decrement(ctx, 5, "sku-1")
	}, 0, nil, 0, "sku-1"},
	{"too many", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.Decrement(ctx, 6, "sku-1")
	}, 5, atomic.ErrInsufficient, 5, "sku-1"},
	{"none", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.Decrement(ctx, 0, "sku-1")
	}, 5, nil, 5, "sku-1"},
	{"more than any column holds", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.Decrement(ctx, math.MaxInt64, "sku-1")
	}, 5, atomic.ErrInsufficient, 5, "sku-1"},
	{"add", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.Increment(ctx, 7, "sku-1")
	}, 12, nil, 12, "sku-1"},
	{"add nothing", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.Increment(ctx, 0, "sku-1")
	}, 5, nil, 5, "sku-1"},
	{"up to the limit", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.IncrementUpTo(ctx, 3, 8, "sku-1")
	}, 8, nil, 8, "sku-1"},
	{"beyond the limit", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.IncrementUpTo(ctx, 3, 7, "sku-1")
	}, 5, atomic.ErrLimit, 5, "sku-1"},
	{"no limit to speak of", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.IncrementUpTo(ctx, 3, math.MaxInt64, "sku-1")
	}, 8, nil, 8, "sku-1"},
	{"nothing above the limit", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return c.IncrementUpTo(ctx, 0, 4, "sku-1")
	}, 5, atomic.ErrLimit, 5, "sku-1"},
	{"swap", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return 0, c.CompareAndSet(ctx, 5, -9, "sku-1")
	}, 0, nil, -9, "sku-1"},
	{"swap for the same", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return 0, c.CompareAndSet(ctx, 5, 5, "sku-1")
	}, 0, nil, 5, "sku-1"},
	{"swap something else", func(ctx context.Context, c *atomic.Counter[int64]) (int64, error) {
		return 0, c.CompareAndSet(ctx, 4, 1, "sku-1")
	}, 0, atomic.ErrMismatch, 5, "sku-1"},
}

func TestCounter(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		run := func(t *testing.T, tx *sql.Tx, ch change) {
			stock := newStock[int64](t, db)
			if tx != nil {
				stock = stock.WithTx(tx)
			}
			got, err := ch.do(t.Context(), stock)
			require.Equal(t, ch.want, got)
			if ch.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ch.err)
			var refused *atomic.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, &atomic.RefusedError{
				Err: ch.err, Table: "items", Column: "stock", Key: atomic.Key{ch.key}, Current: ch.left,
			}, refused)
		}
		for _, ch := range changes {
			t.Run(ch.name, func(t *testing.T) {
				setStock(t, db, 5)
				run(t, nil, ch)
				require.Equal(t, ch.left, stockOf[int64](t, db, ch.key))
			})
			t.Run(ch.name+" in a transaction", func(t *testing.T) {
				setStock(t, db, 5)
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				defer tx.Rollback()
				run(t, tx, ch)
				require.NoError(t, tx.Commit())
				require.Equal(t, ch.left, stockOf[int64](t, db, ch.key))
			})
		}
	})
}

func TestCounterBadInput(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		ctx := t.Context()
		stock := newStock[int64](t, db)

		_, err := stock.DecrementIfPositive(ctx, "nobody")
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "nobody")
		require.ErrorIs(t, stock.CompareAndSet(ctx, 1, 2, "nobody"), sql.ErrNoRows)

		for _, do := range []func() (int64, error){
			func() (int64, error) { return stock.DecrementIfPositive(ctx, "sku-null") },
			func() (int64, error) { return stock.Decrement(ctx, 1, "sku-null") },
			func() (int64, error) { return stock.Increment(ctx, 1, "sku-null") },
			func() (int64, error) { return stock.IncrementUpTo(ctx, 1, 9, "sku-null") },
			func() (int64, error) { return 0, stock.CompareAndSet(ctx, 0, 9, "sku-null") },
		} {
			_, err := do()
			require.ErrorContains(t, err, "NULL")
			require.NotErrorIs(t, err, sql.ErrNoRows)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
		for _, do := range []func() (int64, error){
			func() (int64, error) { return stock.Decrement(ctx, -1, "sku-1") },
			func() (int64, error) { return stock.Increment(ctx, -1, "sku-1") },
			func() (int64, error) { return stock.IncrementUpTo(ctx, -1, 9, "sku-1") },
			func() (int64, error) { return 0, stock.Transfer(ctx, -1, atomic.Key{"sku-1"}, atomic.Key{"sku-0"}) },
			func() (int64, error) {
				return 0, stock.DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{"sku-1"}, N: -1}})
			},
		} {
			_, err := do()
			require.ErrorContains(t, err, "amount -1 is negative")
		}
		for _, key := range [][]any{{}, {"sku-1", "more"}} {
			_, err = stock.Increment(ctx, 1, key...)
			require.ErrorContains(t, err, "(id)")
		}

		for _, at := range [][2]string{{"nowhere", "stock"}, {"items", "nothing"}} {
			absent, err := atomic.NewCounter[int64](db, at[0], at[1])
			require.NoError(t, err)
			_, err = absent.Increment(ctx, 1, "sku-1")
			require.Error(t, err)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, int64(5), stockOf[int64](t, db, "sku-1"))
	})
}

func TestNegativeValues(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		stock := newStock[int64](t, db)
		setStock(t, db, -7)
		now, err := stock.Increment(t.Context(), 3, "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(-4), now)
		_, err = stock.DecrementIfPositive(t.Context(), "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
	})
}

// A trigger makes MySQL forget the insert id by which the new value comes back.
func TestTriggers(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return
		}
		for name, body := range map[string]string{
			"before": "BEFORE UPDATE ON items FOR EACH ROW SET NEW.name = 'changed'",
			"after":  "AFTER UPDATE ON items FOR EACH ROW INSERT INTO audit (note) VALUES ('changed')",
		} {
			t.Run(name, func(t *testing.T) {
				db := items(t, target, "BIGINT")
				exec(t, db, "CREATE TABLE audit (id BIGINT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))")
				exec(t, db, "INSERT INTO audit (id) VALUES (1000)")
				exec(t, db, "CREATE TRIGGER changed "+body)
				stock := newStock[int64](t, db)
				for _, want := range []int64{4, 3} {
					left, err := stock.DecrementIfPositive(t.Context(), "sku-1")
					require.NoError(t, err)
					require.Equal(t, want, left)
				}
				setStock(t, db, -7)
				now, err := stock.Increment(t.Context(), 3, "sku-1")
				require.NoError(t, err)
				require.Equal(t, int64(-4), now)
			})
		}
	})
}

func TestCompositeKeyAndOddNames(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		q := `"`
		if mysqlLike(target) {
			q = "`"
		}
		exec(t, db, "CREATE TABLE "+q+"order items"+q+" (tenant INT, sku VARCHAR(20), "+q+"select"+q+" INT NOT NULL, PRIMARY KEY (tenant, sku))")
		exec(t, db, "INSERT INTO "+q+"order items"+q+" VALUES (1, 'a', 2), (2, 'a', 2)")
		c, err := atomic.NewCounter[int](db, "order items", "select", atomic.WithKey("tenant", "sku"))
		require.NoError(t, err)
		left, err := c.DecrementIfPositive(t.Context(), 1, "a")
		require.NoError(t, err)
		require.Equal(t, 1, left)
		require.Equal(t, 2, value[int](t, db, "SELECT "+q+"select"+q+" FROM "+q+"order items"+q+" WHERE tenant = 2"))
	})
}

func TestOneConnectionIsEnough(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		db.SetMaxOpenConns(1)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		// The first use asks the server what it is: over the transaction, since there is no other connection.
		stock := newStock[int64](t, db)
		left, err := stock.WithTx(tx).DecrementIfPositive(t.Context(), "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(4), left)
		require.NoError(t, tx.Rollback())
		left, err = stock.DecrementIfPositive(t.Context(), "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(4), left, "the transaction was rolled back")
	})
}

// In a transaction of REPEATABLE READ, MySQL's plain SELECT would report the stock of the snapshot.
func TestRefusalReportsTheNewestRow(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return
		}
		db := items(t, target, "BIGINT")
		stock := newStock[int64](t, db)
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		require.NoError(t, err)
		defer tx.Rollback()
		var before int64
		require.NoError(t, tx.QueryRow("SELECT stock FROM items WHERE id = 'sku-1'").Scan(&before))
		setStock(t, db, 1)
		stale := refusesStale(t, tx)
		left, err := stock.WithTx(tx).Decrement(t.Context(), 2, "sku-1")
		if stale {
			require.True(t, nogap.Retryable(err), err)
			return
		}
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.Equal(t, int64(1), left)
	})
}

// sellOut has more callers than there is stock take one each. Those who get one are told different numbers of what is
// left, and the others that nothing is.
func sellOut(t *testing.T, stock, callers int, takeOne func(ctx context.Context, key ...any) (int64, error)) {
	t.Helper()
	var mu sync.Mutex
	seen, refused := map[int64]bool{}, 0
	together(callers, func(int) {
		left, err := takeOne(context.Background(), "sku-1")
		mu.Lock()
		defer mu.Unlock()
		var r *atomic.RefusedError
		switch {
		case errors.As(err, &r):
			refused++
			if r.Err != atomic.ErrInsufficient || r.Current != int64(0) || left != 0 {
				t.Errorf("%d, %v", left, err)
			}
		case err != nil:
			t.Error(err)
		case seen[left]:
			t.Errorf("%d left twice", left)
		default:
			seen[left] = true
		}
	})
	require.Len(t, seen, stock)
	require.Equal(t, callers-stock, refused)
}

func TestSellOut(t *testing.T) {
	matrix.Parallel(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		setStock(t, db, 100)
		sellOut(t, 100, 150, newStock[int64](t, db).DecrementIfPositive)
		require.Zero(t, stockOf[int64](t, db, "sku-1"))
	})
}

func TestCancelledContext(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		stock := newStock[int64](t, db)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := stock.DecrementIfPositive(ctx, "sku-1")
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, "nothing was sent")
		require.ErrorIs(t, stock.Transfer(ctx, 1, atomic.Key{"sku-1"}, atomic.Key{"sku-0"}), context.Canceled)
		require.Equal(t, int64(5), stockOf[int64](t, db, "sku-1"))
	})
}

func TestWithDialectAsksNothing(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		stock := newStock[int64](t, db, atomic.WithDialect(target.Dialect))
		left, err := stock.DecrementIfPositive(t.Context(), "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(4), left)
	})
}
