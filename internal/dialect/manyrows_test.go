package dialect_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

func manyRows(t *testing.T, d nogap.Dialect, n dialect.Number, columns, types []string) (*dialect.ManyRows, bool) {
	t.Helper()
	table, err := dialect.Table("shop.items")
	require.NoError(t, err)
	key, err := dialect.Columns(columns...)
	require.NoError(t, err)
	stock, err := dialect.Column("stock")
	require.NoError(t, err)
	return assume(t, d).ManyRows(table, stock, key, types, n, ", v = v + 1")
}

func TestManyRowsByArrays(t *testing.T) {
	m, ok := manyRows(t, nogap.Postgres, dialect.Signed, []string{"shop", "id"}, []string{"integer", "character varying(20)"})
	require.True(t, ok)
	require.True(t, m.Returns)
	keys := [][]any{{int64(1), `a"b`}, {int64(-2), `c\d, {}`}}
	text, args := m.Lock(keys)
	require.Equal(t, `SELECT nogap.nogap_n, "stock" FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS TEXT[])) WITH ORDINALITY AS `+
		`nogap(nogap_1, nogap_2, nogap_n) JOIN "shop"."items" ON "shop" = nogap.nogap_1 AND "id" = nogap.nogap_2 `+
		`ORDER BY "shop", "id" FOR NO KEY UPDATE SKIP LOCKED`, text)
	require.Equal(t, []any{`{1,-2}`, `{"a\"b","c\\d, {}"}`}, args)
	text, args = m.Set(keys, []any{int64(5), int64(6)})
	require.Equal(t, `UPDATE "shop"."items" SET "stock" = nogap.nogap_v, v = v + 1 `+
		`FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS TEXT[]), `+
		`CAST($3 AS BIGINT[])) WITH ORDINALITY AS nogap(nogap_1, nogap_2, nogap_v, nogap_n) `+
		`WHERE "shop" = nogap.nogap_1 AND "id" = nogap.nogap_2 RETURNING nogap.nogap_n, "stock"`, text)
	require.Len(t, args, 3)
	require.Equal(t, `{5,6}`, args[2])
	require.True(t, m.Fits([]any{int64(1), "a"}))
	require.False(t, m.Fits([]any{"1", "a"}))
	require.False(t, m.Fits([]any{int64(1)}))
}

func TestManyRowsByCases(t *testing.T) {
	m, ok := manyRows(t, nogap.MariaDB, dialect.Unsigned, []string{"id"}, []string{"bigint(20) unsigned"})
	require.True(t, ok)
	keys := [][]any{{int64(7)}, {int64(8)}}
	text, args := m.Lock(keys)
	require.Equal(t, "SELECT CASE `id` WHEN 7 THEN 1 WHEN 8 THEN 2 ELSE 0 END, `stock` FROM `shop`.`items` WHERE `id` IN (7, 8) "+
		"ORDER BY `id` FOR UPDATE SKIP LOCKED", text)
	require.Empty(t, args)
	text, args = m.Set(keys, []any{uint64(1), uint64(2)})
	require.Equal(t, "UPDATE `shop`.`items` SET `stock` = CASE `id` WHEN 7 THEN CAST(1 AS UNSIGNED) WHEN 8 THEN CAST(2 AS UNSIGNED) "+
		"ELSE `stock` END, v = v + 1 WHERE `id` IN (7, 8)", text)
	require.Empty(t, args)

	m, ok = manyRows(t, nogap.MySQL, dialect.Signed, []string{"id"}, []string{"varchar(9)"})
	require.True(t, ok)
	text, args = m.Lock([][]any{{"a b"}, {"c"}})
	require.Equal(t, "SELECT CASE `id` WHEN ? THEN 1 WHEN ? THEN 2 ELSE 0 END, `stock` FROM `shop`.`items` WHERE `id` IN (?, ?) "+
		"ORDER BY `id` FOR UPDATE SKIP LOCKED", text)
	require.Equal(t, []any{"a b", "c", "a b", "c"}, args)

	_, ok = manyRows(t, nogap.MySQL, dialect.Signed, []string{"shop", "id"}, []string{"int", "varchar(9)"})
	require.False(t, ok)
}

func TestNoManyRows(t *testing.T) {
	for _, types := range [][]string{{"numeric"}, {"character(9)"}, {"char(9)"}, {""}, {"citext"}, {"double precision"}, nil} {
		_, ok := manyRows(t, nogap.Postgres, dialect.Signed, []string{"id"}, types)
		require.False(t, ok, "%v", types)
	}
	_, ok := manyRows(t, nogap.SQLite, dialect.Signed, []string{"id"}, []string{"INTEGER"})
	require.False(t, ok)
}
