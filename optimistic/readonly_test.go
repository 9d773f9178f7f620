package optimistic_test

import (
	"database/sql"
	"database/sql/driver"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

type article struct {
	ID      int64  `db:"id"`
	Stock   int64  `db:"stock"`
	Tags    []byte `db:"tags"`
	Version int64  `db:"version"`
}

// articles is a Table of one article that every update finds.
func articles(t *testing.T, opts ...optimistic.Option) (*optimistic.Table[article], *fakedb.Server) {
	s := fakedb.Recorded(answers(fakedb.Reply{
		Columns:      make([]string, 4),
		Rows:         [][]driver.Value{{int64(1), int64(100), []byte("pen"), int64(7)}},
		RowsAffected: 1,
	}))
	db := s.DB()
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	table, err := optimistic.NewTable[article](db, "articles", append(opts, optimistic.WithDialect(nogap.SQLite))...)
	require.NoError(t, err)
	return table, s
}

func TestReadOnlyIsNotWritten(t *testing.T) {
	table, s := articles(t, optimistic.ReadOnly("stock"))
	item, err := table.Get(t.Context(), 1)
	require.NoError(t, err)
	item.Stock = 3
	require.NoError(t, table.Update(t.Context(), item))
	require.Equal(t, &article{ID: 1, Stock: 3, Tags: []byte("pen"), Version: 8}, item)
	require.Equal(t, []string{
		"SELECT `id`, `stock`, `tags`, `version` FROM `articles` WHERE `id` = ?1",
		"BEGIN IMMEDIATE",
		"UPDATE `articles` SET `tags` = ?1, `version` = ?2 WHERE `id` = ?3 AND `version` = ?4",
		"COMMIT",
	}, s.Log())
}

func TestAllReadOnlyCountsTheVersionUp(t *testing.T) {
	table, s := articles(t, optimistic.ReadOnly("tags", "stock"))
	require.NoError(t, table.Update(t.Context(), &article{ID: 1, Version: 7}))
	require.Equal(t, []string{
		"BEGIN IMMEDIATE", "UPDATE `articles` SET `version` = ?1 WHERE `id` = ?2 AND `version` = ?3", "COMMIT",
	}, s.Log())
}

func TestModifyMustNotChangeReadOnly(t *testing.T) {
	table, s := articles(t, optimistic.ReadOnly("stock", "tags"))
	for _, tt := range []struct {
		fn   func(*article)
		want string
	}{
		{func(it *article) { it.Stock-- }, `optimistic: articles at [1]: the callback changed the column "stock", which is ReadOnly, from 100 to 99`},
		{func(it *article) { it.Tags[0] = 'P' }, `optimistic: articles at [1]: the callback changed the column "tags", which is ReadOnly`},
	} {
		_, err := table.Modify(t.Context(), func(it *article) error { tt.fn(it); return nil }, 1)
		require.ErrorContains(t, err, tt.want)
	}
	for _, line := range s.Log() {
		require.NotContains(t, line, "UPDATE")
	}
}

// A number that does not equal itself has not been changed.
func TestReadOnlyNaN(t *testing.T) {
	type measured struct {
		ID      int64           `db:"id"`
		Mean    float64         `db:"mean"`
		Median  sql.NullFloat64 `db:"median"`
		Version int64           `db:"version"`
	}
	db := fakedb.Open(answers(fakedb.Reply{
		Columns:      make([]string, 4),
		Rows:         [][]driver.Value{{int64(1), math.NaN(), math.NaN(), int64(7)}},
		RowsAffected: 1,
	}))
	defer db.Close()
	table, err := optimistic.NewTable[measured](db, "measured",
		optimistic.ReadOnly("mean", "median"), optimistic.WithDialect(nogap.SQLite))
	require.NoError(t, err)
	item, err := table.Get(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, table.Update(t.Context(), item))
	_, err = table.Modify(t.Context(), func(it *measured) error { it.Mean = 1; return nil }, 1)
	require.ErrorContains(t, err, `the column "mean", which is ReadOnly, from NaN to 1`)
}

func TestReadOnlyErrors(t *testing.T) {
	db := newShop().DB()
	defer db.Close()
	type xminRow struct {
		ID    int64 `db:"id"`
		Stock int64 `db:"stock"`
		Xmin  int64 `db:"xmin"`
	}
	table := func(opts ...optimistic.Option) error {
		_, err := optimistic.NewTable[Item](db, "items", opts...)
		return err
	}
	_, xmin := optimistic.NewTable[xminRow](db, "items", optimistic.VersionColumn("xmin"), optimistic.ReadOnly("stock"))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{table(optimistic.ReadOnly()), "optimistic: ReadOnly names no column"},
		{table(optimistic.ReadOnly("stock", "stock")), "optimistic: ReadOnly: column name \"stock\" is given twice"},
		{table(optimistic.ReadOnly("stok")), `optimistic: items: optimistic_test.Item has no field for the read-only column "stok"`},
		{table(optimistic.ReadOnly("version")), `optimistic: items: ReadOnly: column "version" is the version or part of the key`},
		{table(optimistic.ReadOnly("id")), `optimistic: items: ReadOnly: column "id" is the version or part of the key`},
		{xmin, "has no column to write"},
	} {
		require.ErrorContains(t, tt.err, tt.want)
	}
}
