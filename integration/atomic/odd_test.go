//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// SQLite has no decimals, so people keep money as text. It is compared as a number all the same.
func TestCounterOfText(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "VARCHAR(30)")
		exec(t, db, "UPDATE items SET stock = '5' WHERE id = 'sku-1'")
		for _, hot := range []bool{false, true} {
			stock := newStock[int64](t, db)
			decrement := stock.Decrement
			if hot {
				decrement = atomic.Coalesce(stock).Decrement
			}
			together(8, func(int) {
				if _, err := decrement(context.Background(), 10, "sku-1"); err == nil {
					t.Error("10 of 5 were granted")
				}
			})
			_, err := decrement(t.Context(), 10, "sku-1")
			require.ErrorIs(t, err, atomic.ErrInsufficient)
		}
		exec(t, db, "UPDATE items SET stock = '5.00' WHERE id = 'sku-1'")
		_, err := newStock[string](t, db).Decrement(t.Context(), "10", "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
	})
}

// Drivers send NULL for a slice of bytes that is nil.
func TestNilBytes(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		_, err := newStock[int64](t, db).Increment(t.Context(), 1, []byte(nil))
		require.ErrorContains(t, err, "items.id is NULL")

		bytes := "BLOB"
		switch {
		case mysqlLike(target):
			bytes = "VARBINARY(20)"
		case target.Driver == "pgx" || target.Driver == "postgres":
			bytes = "BYTEA"
		}
		exec(t, db, "CREATE TABLE likes (post BIGINT, who "+bytes+", UNIQUE (post, who))")
		likes, err := atomic.NewSet(db, "likes", []string{"post", "who"})
		require.NoError(t, err)
		_, err = likes.Add(t.Context(), 1, []byte(nil))
		require.ErrorContains(t, err, "who is NULL")
		require.Zero(t, value[int](t, db, "SELECT count(*) FROM likes"))
	})
}

// A change that the server holds back without a word is not refused for want of stock.
func TestCounterHeldBack(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		exec(t, db, "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
		exec(t, db, "CREATE TRIGGER nothing BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION nothing()")
		_, err := newStock[int64](t, db).Decrement(t.Context(), 1, "sku-1")
		require.ErrorContains(t, err, "a trigger or a policy of the server held the change back")
		require.NotErrorIs(t, err, atomic.ErrInsufficient)
	})
}

// Whoever adds a member that comes and goes has added it, or finds it there.
func TestSetThatComesAndGoes(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE likes (post BIGINT, who BIGINT, UNIQUE (post, who))")
		likes, err := atomic.NewSet(db, "likes", []string{"post", "who"})
		require.NoError(t, err)
		together(8, func(i int) {
			for range 50 {
				change := likes.Add
				if i%2 == 0 {
					change = likes.Remove
				}
				if _, err := change(context.Background(), 1, 2); err != nil {
					t.Error(err)
					return
				}
			}
		})
	})
}

// Two rows with one key are an error. What a transaction has done to them is rolled back with it; what a statement by
// itself has done stands.
func TestKeyNotUnique(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id VARCHAR(40), stock BIGINT)")
		exec(t, db, "INSERT INTO items VALUES ('a', 5), ('a', 5), ('b', 5)")
		stock := newStock[int64](t, db)
		err := stock.Transfer(t.Context(), 1, atomic.Key{"a"}, atomic.Key{"b"})
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.EqualValues(t, 15, value[int64](t, db, "SELECT sum(stock) FROM items"))

		_, err = stock.Decrement(t.Context(), 1, "a")
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)

		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = stock.WithTx(tx).Decrement(t.Context(), 1, "a")
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
	})
}

// The unique index may be dropped after a Set has looked for it.
func TestMemberNotUnique(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE likes (post VARCHAR(40))")
		exec(t, db, "CREATE UNIQUE INDEX once ON likes (post)")
		likes, err := atomic.NewSet(db, "likes", []string{"post"})
		require.NoError(t, err)
		_, err = likes.Remove(t.Context(), "none")
		require.NoError(t, err)
		if target.Dialect == nogap.MySQL || target.Dialect == nogap.MariaDB {
			exec(t, db, "DROP INDEX once ON likes")
		} else {
			exec(t, db, "DROP INDEX once")
		}
		exec(t, db, "INSERT INTO likes VALUES ('a'), ('a')")
		removed, err := likes.Remove(t.Context(), "a")
		require.False(t, removed)
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	})
}

// A transfer that is refused leaves no savepoint behind in the caller's transaction.
func TestNoSavepointIsLeft(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		err = newStock[int64](t, db).WithTx(tx).Transfer(t.Context(), 99, atomic.Key{"sku-1"}, atomic.Key{"sku-0"})
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		_, err = tx.Exec("RELEASE SAVEPOINT nogap")
		require.Error(t, err)
	})
}

// TestAlteredColumn: a column gets another type while programs run that have prepared their statements.
func TestAlteredColumn(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := items(t, target, "INT")
		stock := newStock[int64](t, db)
		conns := make([]*sql.Conn, 3) // each has a plan of its own
		change := func() {
			for i := range conns {
				var err error
				_, err = stock.Increment(t.Context(), 2, "sku-1")
				require.NoError(t, err)
				_, err = stock.Decrement(t.Context(), 1, "sku-1")
				require.NoError(t, err)
				require.NoError(t, stock.Transfer(t.Context(), 1, atomic.Key{"sku-1"}, atomic.Key{"sku-0"}))
				conns[i], err = db.Conn(t.Context()) // the next turn uses another connection
				require.NoError(t, err)
			}
			for _, c := range conns {
				require.NoError(t, c.Close())
			}
		}
		change()
		exec(t, db, "ALTER TABLE items ALTER COLUMN stock TYPE BIGINT")
		change()
		exec(t, db, "ALTER TABLE items ADD COLUMN added INT")
		change()
		require.Equal(t, int64(5), stockOf[int64](t, db, "sku-1"))
		require.Equal(t, int64(9), stockOf[int64](t, db, "sku-0"))
	})
}

// A key column that nobody has named is "id". The error of a table without one says how to name another.
func TestMissingKeyColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE coupons (code varchar(20) PRIMARY KEY, uses int, used_at timestamp NULL)")
		uses, err := atomic.NewCounter[int64](db, "coupons", "uses")
		require.NoError(t, err)
		_, err = uses.Increment(t.Context(), 1, "a")
		require.ErrorContains(t, err, `the key column is "id" unless WithKey names others`)
		coupons, err := atomic.NewSingleUse[struct {
			Code string `db:"code"`
		}](db, "coupons", atomic.UsedAt("used_at"))
		require.NoError(t, err)
		_, err = coupons.Use(t.Context(), "a")
		require.ErrorContains(t, err, `the key column is "id" unless WithKey names others`)
		require.NotContains(t, err.Error(), "db:")
		wrong, err := atomic.NewCounter[int64](db, "coupons", "used", atomic.WithKey("code"))
		require.NoError(t, err)
		_, err = wrong.Increment(t.Context(), 1, "a")
		require.Error(t, err)
		require.NotContains(t, err.Error(), "WithKey")
	})
}
