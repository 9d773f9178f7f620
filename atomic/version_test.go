package atomic_test

import (
	"context"
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// versioned is a database whose version column has a type, and in which every update takes place.
func versioned(columnType string) *fakedb.Server {
	server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Reply{Columns: []string{""}, Rows: [][]driver.Value{{int64(2)}}, RowsAffected: 1, LastInsertID: 2}, nil
	})
	server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) { return fakedb.Looked(c, columnType), nil }
	return server
}

// On MySQL the assignments are made from left to right: the value's comes first, and does not see the version's.
func TestVersionStatements(t *testing.T) {
	for d, want := range map[nogap.Dialect][]string{
		nogap.Postgres: {
			`UPDATE "items" SET "stock" = "stock" - CAST($2 AS BIGINT), "version" = COALESCE("version", 0) + 1 WHERE "id" = $1 AND "stock" >= CAST($2 AS BIGINT) RETURNING "stock"`,
			`UPDATE "items" SET "stock" = CAST($3 AS BIGINT), "version" = COALESCE("version", 0) + 1 WHERE "id" = $1 AND "stock" = CAST($2 AS BIGINT)` +
				` RETURNING 1 / CASE WHEN "stock" IS NOT DISTINCT FROM CAST($3 AS BIGINT) THEN 1 ELSE 0 END`,
			`UPDATE "items" SET "status" = $3, "version" = COALESCE("version", 0) + 1 WHERE "id" = $1 AND "status" = $2` +
				` RETURNING 1 / CASE WHEN "status" IS NOT DISTINCT FROM $3 THEN 1 ELSE 0 END`,
		},
		nogap.MySQL: {
			"UPDATE `items` SET `stock` = CASE WHEN LAST_INSERT_ID(`stock` - ?) = 0 THEN `stock` - ? ELSE `stock` - ? END, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `stock` >= ? AND `stock` <= 9223372036854775807",
			"UPDATE `items` SET `stock` = ?, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `stock` = ?",
			"UPDATE `items` SET `status` = ?, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `status` = ?",
		},
		nogap.MariaDB: {
			"UPDATE `items` SET `stock` = CASE WHEN LAST_INSERT_ID(`stock` - ?) = 0 THEN `stock` - ? ELSE `stock` - ? END, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `stock` >= ? AND `stock` <= 9223372036854775807",
			"UPDATE `items` SET `stock` = ?, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `stock` = ?",
			"UPDATE `items` SET `status` = ?, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `status` = ?",
		},
		nogap.SQLite: {
			"BEGIN IMMEDIATE",
			"UPDATE `items` SET `stock` = `stock` - ?2, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ?1 AND (`stock` + 0) >= ?2 RETURNING `stock`",
			"COMMIT",
			"BEGIN IMMEDIATE",
			"UPDATE `items` SET `stock` = ?3, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ?1 AND (`stock` + 0) = ?2",
			"COMMIT",
			"BEGIN IMMEDIATE",
			"UPDATE `items` SET `status` = ?3, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ?1 AND `status` = ?2",
			"COMMIT",
		},
	} {
		t.Run(d.String(), func(t *testing.T) {
			server := versioned("bigint")
			db := server.DB()
			defer db.Close()
			opts := []atomic.Option{atomic.WithDialect(d), atomic.VersionColumn("version")}
			stock, err := atomic.NewCounter[int64](db, "items", "stock", opts...)
			require.NoError(t, err)
			status, err := atomic.NewState[string](db, "items", "status", opts...)
			require.NoError(t, err)
			left, err := stock.Decrement(t.Context(), 3, "sku-1")
			require.NoError(t, err)
			require.Equal(t, int64(2), left)
			require.NoError(t, stock.CompareAndSet(t.Context(), 2, 5, "sku-1"))
			require.NoError(t, status.Transition(t.Context(), "pending", "paid", "sku-1"))
			require.Equal(t, want, server.Log())
		})
	}
}

func TestVersionMustBeANumber(t *testing.T) {
	server := versioned("datetime(6)")
	db := server.DB()
	defer db.Close()
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.MySQL), atomic.VersionColumn("version"))
	require.NoError(t, err)
	for range 2 {
		_, err := stock.Decrement(t.Context(), 3, "sku-1")
		require.EqualError(t, err, `atomic: items: the version column "version" is datetime(6): only an integer can be counted up; `+
			`optimistic.ReadOnly("stock") is the other way out`)
	}
	for _, line := range server.Log() {
		require.NotContains(t, line, "UPDATE")
	}
}

func TestVersionColumnErrors(t *testing.T) {
	db := shop()
	defer db.Close()
	counter := func(opts ...atomic.Option) error {
		_, err := atomic.NewCounter[int64](db, "items", "stock", opts...)
		return err
	}
	_, set := atomic.NewSet(db, "likes", []string{"post_id"}, atomic.VersionColumn("version"))
	_, state := atomic.NewState[string](db, "items", "status", atomic.VersionColumn("Status"))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{counter(atomic.VersionColumn("")), "atomic: VersionColumn: column name \"\" is empty"},
		{counter(atomic.VersionColumn("stock")), `atomic: items: column "stock" cannot be both changed and the version`},
		{state, `atomic: items: column "Status" cannot be both changed and the version`},
		{counter(atomic.VersionColumn("ID")), `atomic: items: column "ID" cannot be both the version and part of the key`},
		{counter(atomic.VersionColumn("sku"), atomic.WithKey("shop", "sku")), `column "sku" cannot be both the version and part of the key`},
		{counter(atomic.VersionColumn("version"), atomic.VersionColumn("version")), "atomic: VersionColumn is given twice"},
		{counter(atomic.VersionColumn("xmin")), "the server itself changes xmin"},
		{set, "atomic: VersionColumn is not an option of NewSet"},
	} {
		require.ErrorContains(t, tt.err, tt.want)
	}
}

// A compare-and-set to the value that is there writes the version, so "nothing changed" means that the guard did not hold:
// if it holds when it is looked at, somebody changed the row in between, and the statement is sent again.
func TestSwapForTheSameCountsUp(t *testing.T) {
	updates := 0
	server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, "UPDATE") {
			updates++
			return fakedb.Reply{RowsAffected: int64(updates - 1)}, nil
		}
		return fakedb.Row(int64(5), int64(1)), nil
	})
	db := server.DB()
	defer db.Close()
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.MySQL), atomic.VersionColumn("version"))
	require.NoError(t, err)
	require.NoError(t, stock.CompareAndSet(t.Context(), 5, 5, "sku-1"))
	update := "UPDATE `items` SET `stock` = ?, `version` = COALESCE(`version`, 0) + 1 WHERE `id` = ? AND `stock` = ?"
	require.Equal(t, []string{
		update, "SELECT `stock`, CASE WHEN `stock` = ? THEN 1 ELSE 0 END FROM `items` WHERE `id` = ?", update,
	}, server.Log())
}
