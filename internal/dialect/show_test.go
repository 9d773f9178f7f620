package dialect_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// A look that comes first in a transaction of MySQL reads what SHOW CREATE TABLE shows.
func TestEarlyLook(t *testing.T) {
	const body = "  `id` bigint NOT NULL,\n  `version` datetime(6) NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE="
	for name, tt := range map[string]struct {
		text string
		want dialect.Look
	}{
		"InnoDB":    {"CREATE TABLE `items` (\n" + body + "InnoDB DEFAULT CHARSET=utf8mb4", dialect.Look{Listed: true, Early: true, Type: "datetime(6)", Lasts: true}},
		"temporary": {"CREATE TEMPORARY TABLE `items` (\n" + body + "InnoDB", dialect.Look{Listed: true, Early: true, Type: "datetime(6)"}},
		"MyISAM":    {"CREATE TABLE `items` (\n" + body + "MyISAM", dialect.Look{Listed: true, Early: true, Type: "datetime(6)", Engine: "MyISAM", Lasts: true}},
		"unquoted":  {strings.ReplaceAll("CREATE TABLE items (\n"+body+"InnoDB", "`", ""), dialect.Look{Listed: true, Early: true, Type: "datetime(6)", Lasts: true}},
		"cut":       {"CREATE TABLE `items` (\n" + body + "InnoDB /* cut */", dialect.Look{Listed: true, Early: true, Type: "datetime(6)", CutsTimes: true, Lasts: true}},
	} {
		server := fakedb.New(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
		server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			switch {
			case strings.HasPrefix(c.Query, "SHOW CREATE TABLE `shop`.`items`"):
				return fakedb.Row("items", tt.text), nil
			case strings.HasPrefix(c.Query, "SELECT COUNT(*) FROM information_schema.ENGINES WHERE ENGINE = 'MyISAM'"):
				return fakedb.Row(int64(1)), nil
			case strings.HasPrefix(c.Query, "SELECT CASE WHEN @@sql_mode"):
				return fakedb.Row(""), nil
			}
			require.Equal(t, "SELECT ? = ?"+dialect.LookMark, c.Query)
			return fakedb.Row(strings.Contains(tt.text, "cut")), nil
		}
		tx, err := server.DB().Begin()
		require.NoError(t, err)
		s, err := dialect.Assume(nogap.MySQL)
		require.NoError(t, err)
		table, err := dialect.Table("shop.items")
		require.NoError(t, err)
		version, err := dialect.Column("version")
		require.NoError(t, err)
		look, err := s.Look(t.Context(), txn.In(tx), table, dialect.Question{Version: &version, Times: true, Early: true})
		require.NoError(t, err)
		require.Equal(t, tt.want, look, name)
	}
}
