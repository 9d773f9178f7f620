package atomic_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func TestWhereConditions(t *testing.T) {
	db := instant(t)
	for condition, want := range map[string]string{
		"":                               "is blank",
		" \t\n":                          "is blank",
		"a = ?":                          "placeholder",
		"a = $1":                         "placeholder",
		"a = $$)$$":                      "placeholder",
		"a = :b":                         "placeholder",
		"a = @b":                         "placeholder or a variable",
		"a = @`b`":                       "placeholder or a variable",
		"a -- b":                         "comment",
		"a /* b":                         "comment",
		"a # b":                          "comment",
		"a; DROP TABLE b":                "semicolon",
		"a) OR (b":                       "closes a bracket",
		"a)":                             "closes a bracket",
		"(a":                             "bracket is not closed",
		"((a) AND b":                     "bracket is not closed",
		"a = 'b":                         "not closed",
		`a = "b`:                         "not closed",
		"`a = 1":                         "not closed",
		`a = '\'`:                        "backslash",
		`a = '\') OR (''`:                "backslash",
		`a = "\"`:                        "backslash",
		`\`:                              "backslash",
		"a = `)`":                        "holds the character",
		"a = 'b\x00'":                    "backslash ends",
		"a\x00":                          "NUL",
		"a = 'it''s' AND b = '":          "not closed",
		"active = 'x' OR b = ')'":        "",
		"a = 'it''s; -- /* # ? $ @b :b'": "",
		"(a < b) AND (c OR (d))":         "",
		"a - -1 < b / 2":                 "",
		"a::int < 5":                     "",
		"tags @> '{1,2}'":                "",
		"`order` = \"x)\"":               "",
		"active":                         "",
	} {
		_, err := atomic.NewCounter[int64](db, "items", "stock", atomic.Where(condition))
		if want == "" {
			require.NoError(t, err, condition)
			continue
		}
		require.ErrorContains(t, err, want, condition)
		require.ErrorContains(t, err, "atomic: Where(", condition)
	}
	_, err := atomic.NewCounter[int64](db, "items", "stock", atomic.Where("a"), atomic.Where("b"))
	require.ErrorContains(t, err, "Where is given twice")
	_, err = atomic.NewSet(db, "likes", []string{"id"}, atomic.Where("a"))
	require.ErrorContains(t, err, "Where is not an option of NewSet")
}

// What stands in brackets stays there.
func FuzzWhere(f *testing.F) {
	f.Add("a = 'b' AND (c)")
	f.Add("`a")
	f.Add("'\"'")
	f.Fuzz(func(t *testing.T, condition string) {
		db := instant(t)
		if _, err := atomic.NewCounter[int64](db, "items", "stock", atomic.Where(condition)); err != nil {
			return
		}
		for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL, nogap.SQLite} {
			require.Equal(t, len(condition), endOfBracket(d, condition+")"), "%v: %q", d, condition)
		}
	})
}

// endOfBracket returns where the bracket is closed in which a text begins, as a server reads it; -1 if it is not, or if
// there is something else that is for no condition.
func endOfBracket(d nogap.Dialect, text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		c, rest := text[i], text[i:]
		switch {
		case quote != 0 && c == '\\' && d == nogap.MySQL && quote != '`':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`' && d != nogap.Postgres:
			quote = c
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "/*"), c == '#' && d == nogap.MySQL, c == ';', c == '?' && d != nogap.Postgres:
			return -1
		case c == '(':
			depth++
		case c == ')' && depth == 0:
			return i
		case c == ')':
			depth--
		}
	}
	return -1
}

func TestWhereStatements(t *testing.T) {
	finding := int64(3)
	server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, "UPDATE") {
			return fakedb.Reply{Columns: []string{"stock"}}, nil
		}
		return fakedb.Row(int64(5), finding), nil
	})
	db := server.DB()
	defer db.Close()
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.Postgres), atomic.Where("a OR b"))
	require.NoError(t, err)
	left, err := stock.Decrement(t.Context(), 2, "sku-1")
	require.Equal(t, int64(5), left)
	require.ErrorIs(t, err, atomic.ErrConditionFailed)
	require.EqualError(t, err, "atomic: items.stock at [sku-1] is 5: condition failed")
	require.Equal(t, []string{
		`UPDATE "items" SET "stock" = "stock" - CAST($2 AS BIGINT) WHERE "id" = $1 AND "stock" >= CAST($2 AS BIGINT) AND (a OR b) RETURNING "stock"`,
		`SELECT "stock", CASE WHEN "stock" >= CAST($2 AS BIGINT) THEN CASE WHEN (a OR b) THEN 1 ELSE 3 END ELSE 0 END FROM "items" WHERE "id" = $1`,
	}, server.Log())

	finding = 0
	_, err = stock.Decrement(t.Context(), 2, "sku-1")
	require.ErrorIs(t, err, atomic.ErrInsufficient, "the method's own guard is told first")
	finding = 3
	_, err = stock.Decrement(t.Context(), 0, "sku-1")
	require.ErrorIs(t, err, atomic.ErrConditionFailed, "also where nothing is to be written")
	require.ErrorIs(t, stock.DecrementAll(t.Context(), []atomic.Item[int64]{{Key: atomic.Key{"sku-1"}, N: 2}}), atomic.ErrConditionFailed)

	hot := atomic.Coalesce(stock)
	sent := len(server.Log())
	for _, call := range []func() error{
		func() error { _, err := hot.DecrementIfPositive(t.Context(), "sku-1"); return err },
		func() error { _, err := hot.Decrement(t.Context(), 1, "sku-1"); return err },
		func() error { _, err := hot.Increment(t.Context(), 1, "sku-1"); return err },
		func() error { _, err := hot.IncrementUpTo(t.Context(), 1, 9, "sku-1"); return err },
		hot.Close,
	} {
		require.ErrorContains(t, call(), "atomic: Coalesce: the Counter has the option Where")
	}
	require.Len(t, server.Log(), sent)
}
