package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// newStock returns a Counter of the column stock on PostgreSQL.
func newStock[N any](t *testing.T, db *sql.DB) *atomic.Counter[N] {
	t.Helper()
	stock, err := atomic.NewCounter[N](db, "items", "stock", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	return stock
}

func TestConstructorsRefuseBadInput(t *testing.T) {
	db := instant(t)
	counter := func(table, column string, opts ...atomic.Option) error {
		_, err := atomic.NewCounter[int64](db, table, column, opts...)
		return err
	}
	set := func(columns []string, opts ...atomic.Option) error {
		_, err := atomic.NewSet(db, "likes", columns, opts...)
		return err
	}
	_, nilDB := atomic.NewCounter[int64](nil, "items", "stock")
	_, nilSet := atomic.NewSet(nil, "likes", []string{"post_id"})
	_, nilState := atomic.NewState[string](nil, "orders", "status")
	tests := []struct {
		err  error
		want string
	}{
		{nilDB, "db is nil"},
		{nilSet, "db is nil"},
		{nilState, "db is nil"},
		{counter("", "stock"), `table name ""`},
		{counter("a.b.c.d", "stock"), "more than three parts"},
		{counter("items; DROP TABLE items", "stock"), "items; DROP TABLE items"},
		{counter("items", ""), `column name ""`},
		{counter("items", "a.b"), `'.'`},
		{counter("items", `st"ock`), "holds the character '\"'"},
		{counter("items", "stock", atomic.WithKey()), "WithKey names no column"},
		{counter("items", "stock", atomic.WithKey("a", "")), `column name ""`},
		{counter("items", "stock", atomic.WithKey("a", "a")), "given twice"},
		{counter("items", "stock", atomic.WithDialect(0)), "unknown dialect"},
		{counter("items", "stock", atomic.WithDialect(99)), "Dialect(99)"},
		{counter("items", "stock", nil), "nil"},
		{counter("items", "stock", atomic.WithKey("a"), atomic.WithKey("b")), "WithKey is given twice"},
		{set(nil), "NewSet names no column"},
		{set([]string{"post_id"}, atomic.WithKey("user_id")), "WithKey is not an option of NewSet"},
		{set([]string{"post_id", "post_id"}), "given twice"},
		{set([]string{"post_id"}, atomic.WithDialect(99)), "Dialect(99)"},
	}
	for _, tt := range tests {
		require.ErrorContains(t, tt.err, tt.want)
		require.ErrorContains(t, tt.err, "atomic: ")
	}
}

func TestNilTransaction(t *testing.T) {
	_, err := newStock[int64](t, instant(t)).WithTx(nil).DecrementIfPositive(t.Context(), "sku-1")
	require.ErrorContains(t, err, "the transaction is nil")
}

func TestStatements(t *testing.T) {
	tests := map[nogap.Dialect][]string{
		nogap.Postgres: {
			`UPDATE "shop"."items" SET "stock" = "stock" - 1 WHERE "id" = $1 AND "stock" >= 1 RETURNING "stock"`,
			`UPDATE "shop"."items" SET "stock" = "stock" - CAST($2 AS BIGINT) WHERE "id" = $1 AND "stock" >= CAST($2 AS BIGINT) RETURNING "stock"`,
		},
		nogap.MariaDB: {
			"UPDATE `shop`.`items` SET `stock` = CASE WHEN LAST_INSERT_ID(`stock` - 1) = 0 THEN `stock` - 1 ELSE `stock` - 1 END WHERE `id` = ? AND `stock` >= 1 AND `stock` <= 9223372036854775807",
			"UPDATE `shop`.`items` SET `stock` = CASE WHEN LAST_INSERT_ID(`stock` - ?) = 0 THEN `stock` - ? ELSE `stock` - ? END WHERE `id` = ? AND `stock` >= ? AND `stock` <= 9223372036854775807",
		},
		nogap.SQLite: {
			"BEGIN IMMEDIATE",
			"UPDATE `shop`.`items` SET `stock` = `stock` - 1 WHERE `id` = ?1 AND (`stock` + 0) >= 1 RETURNING `stock`",
			"COMMIT",
			"BEGIN IMMEDIATE",
			"UPDATE `shop`.`items` SET `stock` = `stock` - ?2 WHERE `id` = ?1 AND (`stock` + 0) >= ?2 RETURNING `stock`",
			"COMMIT",
		},
	}
	for d, want := range tests {
		t.Run(d.String(), func(t *testing.T) {
			server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
				return fakedb.Reply{Columns: []string{""}, Rows: [][]driver.Value{{int64(-2)}}, RowsAffected: 1, LastInsertID: -2}, nil
			})
			db := server.DB()
			defer db.Close()
			stock, err := atomic.NewCounter[int64](db, "shop.items", "stock", atomic.WithDialect(d))
			require.NoError(t, err)
			for _, do := range []func() (int64, error){
				func() (int64, error) { return stock.DecrementIfPositive(t.Context(), "sku-1") },
				func() (int64, error) { return stock.Decrement(t.Context(), 3, "sku-1") },
			} {
				left, err := do()
				require.NoError(t, err)
				require.Equal(t, int64(-2), left)
			}
			require.Equal(t, want, server.Log(), "one statement each, and nobody asked for the version")
		})
	}
}

// failing is a database whose nth UPDATE fails with the given error; others take 1 from 5.
func failing(t *testing.T, errs ...error) (*sql.DB, *fakedb.Server) {
	n := 0
	server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Query {
			n++
			if n <= len(errs) && errs[n-1] != nil {
				return fakedb.Reply{}, errs[n-1]
			}
		}
		return fakedb.Row(int64(4)), nil
	})
	db := server.DB()
	t.Cleanup(func() { db.Close() })
	return db, server
}

type pgError string

func (e pgError) Error() string    { return "pg: " + string(e) }
func (e pgError) SQLState() string { return string(e) }

func TestWhatTheServerUndidIsTriedAgain(t *testing.T) {
	for _, code := range []pgError{"40001", "40P01"} {
		db, server := failing(t, code, code)
		stock := newStock[int64](t, db)
		left, err := stock.DecrementIfPositive(t.Context(), "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(4), left)
		require.Len(t, server.Log(), 3)
	}
}

func TestAnUnknownOutcomeIsNeverTriedAgain(t *testing.T) {
	for _, lost := range []error{io.ErrUnexpectedEOF, pgError("57P01"), pgError("40003"), errors.Join(pgError("40001"), pgError("08006"))} {
		db, server := failing(t, lost)
		stock := newStock[int64](t, db)
		left, err := stock.DecrementIfPositive(t.Context(), "sku-1")
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown, lost)
		require.ErrorIs(t, err, lost)
		require.Zero(t, left)
		require.Contains(t, server.Log()[0], "UPDATE")
		for _, later := range server.Log()[1:] {
			require.NotContains(t, later, "UPDATE")
		}
	}
}

func TestInATransactionNothingIsTriedAgain(t *testing.T) {
	db, server := failing(t, pgError("40001"))
	stock := newStock[int64](t, db)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = stock.WithTx(tx).DecrementIfPositive(t.Context(), "sku-1")
	require.ErrorIs(t, err, pgError("40001"))
	require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, "nothing is unknown before COMMIT")
	require.Len(t, server.Log(), 2, "BEGIN and one UPDATE")
}

// The row is refilled between the refusal and the look at why: that is no reason to refuse.
func TestRefillBetweenRefusalAndCheck(t *testing.T) {
	updates := 0
	db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind != fakedb.Query:
			return fakedb.Reply{}, nil
		case c.Query[:6] == "SELECT":
			return fakedb.Row(int64(1), int64(1)), nil // one is there, and the guard holds
		}
		if updates++; updates == 1 {
			return fakedb.Reply{Columns: []string{"stock"}}, nil
		}
		return fakedb.Row(int64(0)), nil
	})
	defer db.Close()
	stock := newStock[int64](t, db)
	left, err := stock.DecrementIfPositive(t.Context(), "sku-1")
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, 2, updates)
}

// A key that isn't unique is a mistake that shows when it is too late: at least it shows.
func TestKeyThatIsNotUnique(t *testing.T) {
	for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL} {
		db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
			return fakedb.Reply{Columns: []string{"stock"}, Rows: [][]driver.Value{{int64(4)}, {int64(4)}}, RowsAffected: 2}, nil
		})
		defer db.Close()
		stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(d))
		require.NoError(t, err)
		left, err := stock.DecrementIfPositive(t.Context(), "sku-1")
		require.ErrorContains(t, err, "unique")
		require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Zero(t, left)
	}
}
