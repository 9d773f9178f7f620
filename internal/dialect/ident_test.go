package dialect_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

var dialects = []nogap.Dialect{nogap.Postgres, nogap.MySQL, nogap.MariaDB, nogap.SQLite}

func assume(t testing.TB, d nogap.Dialect) dialect.Server {
	t.Helper()
	s, err := dialect.Assume(d)
	require.NoError(t, err)
	return s
}

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ name, postgres, others string }{
		{"items", `"items"`, "`items`"},
		{"shop.items", `"shop"."items"`, "`shop`.`items`"},
		{"db.shop.items", `"db"."shop"."items"`, "`db`.`shop`.`items`"},
		{"Order Items", `"Order Items"`, "`Order Items`"},
		{"select", `"select"`, "`select`"},
		{"größe_1$-x", `"größe_1$-x"`, "`größe_1$-x`"},
		{"商品", `"商品"`, "`商品`"},
	} {
		id, err := dialect.Table(tt.name)
		require.NoError(t, err)
		require.Equal(t, tt.name, id.String())
		for _, d := range dialects {
			want := tt.others
			if d == nogap.Postgres {
				want = tt.postgres
			}
			require.Equal(t, want, assume(t, d).Quote(id), d)
		}
	}
}

func TestIdentParts(t *testing.T) {
	for name, want := range map[string][2]string{
		"items": {"", "items"}, "shop.items": {"shop", "items"}, "db.shop.items": {"shop", "items"},
	} {
		id, err := dialect.Table(name)
		require.NoError(t, err)
		require.Equal(t, want, [2]string{id.Qualifier(), id.Last()})
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, part := range []string{
		"", " ", " items", "items ", "\titems", "items\n", "it\nems", "items;", "items--\n", "it'ems", `it"ems`, "it`ems", "it[ems]",
		"items)", "items/*", "it\x00ems", "it\\ems", "it?ems", "it{1}ems", "it:ems", "@items", "it\u00a0ems", "it\u2028ems",
		"it\u200bems", "\ufeffitems", "it\xffems", strings.Repeat("x", 65), "it\U0001F600ems",
	} {
		_, err := dialect.Column(part)
		require.Error(t, err, "%q", part)
		for _, name := range []string{part, "shop." + part, part + ".items"} {
			_, err := dialect.Table(name)
			require.Error(t, err, "%q", name)
		}
	}
	for _, name := range []string{"a.b.c.d", ".", "..", "items.", ".items", "shop..items"} {
		_, err := dialect.Table(name)
		require.ErrorContains(t, err, name)
	}
	_, err := dialect.Column("items.stock")
	require.ErrorContains(t, err, "items.stock", "a column is never qualified")
	_, err = dialect.Column(strings.Repeat("ö", 64))
	require.NoError(t, err, "characters are counted, not bytes")
}

func TestColumns(t *testing.T) {
	ids, err := dialect.Columns("tenant", "sku")
	require.NoError(t, err)
	require.Equal(t, "`tenant`, `sku`", assume(t, nogap.MySQL).QuoteAll(ids))
	require.Equal(t, `"tenant" = {2} AND "sku" = {3}`, assume(t, nogap.Postgres).Equals(ids, 2))
	_, err = dialect.Columns("tenant", "sku", "Tenant")
	require.ErrorContains(t, err, `"Tenant" is given twice`)
	_, err = dialect.Columns("tenant", "")
	require.Error(t, err)
}

// unquote reads one quoted, perhaps qualified, name as a server's lexer does and returns its parts and what follows it.
func unquote(s string, quote byte) (parts []string, rest string) {
	for {
		if s == "" || s[0] != quote {
			return nil, s
		}
		var part []byte
		i := 1
		for ; ; i++ {
			if i == len(s) {
				return nil, "" // never closed
			}
			if s[i] == quote {
				if i+1 == len(s) || s[i+1] != quote {
					break
				}
				i++
			}
			part = append(part, s[i])
		}
		parts = append(parts, string(part))
		s = s[i+1:]
		if !strings.HasPrefix(s, ".") {
			return parts, s
		}
		s = s[1:]
	}
}

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{
		"items", "shop.items", "a.b.c", "a.b.c.d", `it"ems`, `items"; DROP TABLE items; --`, "it`ems", "`", `"`, "\\", "a\x00b", "{1}",
		"größe", "ˋitemsˋ", "ʺitemsʺ", "a b", " a", "$1", "?", "x'", "\xbf`", "é", "a--b", strings.Repeat("x", 64), "\u202eitems",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		table, tableErr := dialect.Table(name)
		column, columnErr := dialect.Column(name)
		for _, d := range dialects {
			s := assume(t, d)
			quote := byte('`')
			if d == nogap.Postgres {
				quote = '"'
			}
			if tableErr == nil {
				parts, rest := unquote(s.Quote(table)+" SET x", quote)
				require.Equal(t, strings.Split(name, "."), parts)
				require.Equal(t, " SET x", rest)
			}
			if columnErr == nil {
				quoted := s.Quote(column)
				parts, rest := unquote(quoted+" = 1", quote)
				require.Equal(t, []string{name}, parts)
				require.Equal(t, " = 1", rest)
				// A template takes it as it is, and so do the drivers that look for placeholders themselves.
				require.Equal(t, quoted, s.Compile(quoted).Text)
				require.NotContains(t, quoted, "?")
				require.NotContains(t, quoted, "\\")
				require.NotContains(t, quoted, "'")
				require.NotContains(t, quoted, "\x00")
			}
		}
		if columnErr == nil {
			require.NoError(t, tableErr, "what names a column can name a table")
		}
	})
}
