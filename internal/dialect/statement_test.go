package dialect_test

import (
	"database/sql/driver"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

func TestCompile(t *testing.T) {
	values := []any{"a", "b", "c"}
	for _, tt := range []struct {
		template, postgres, mysql, sqlite string
		args                              []any // on MySQL
		used                              int   // elsewhere
	}{
		{"SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1", []any{}, 0},
		{"x = {1}", "x = $1", "x = ?", "x = ?1", []any{"a"}, 1},
		{"{2} {1} {2}", "$2 $1 $2", "? ? ?", "?2 ?1 ?2", []any{"b", "a", "b"}, 2},
		{"{3},{1}", "$3,$1", "?,?", "?3,?1", []any{"c", "a"}, 3},
	} {
		for d, want := range map[nogap.Dialect]string{
			nogap.Postgres: tt.postgres, nogap.MySQL: tt.mysql, nogap.MariaDB: tt.mysql, nogap.SQLite: tt.sqlite,
		} {
			st := assume(t, d).Compile(tt.template)
			require.Equal(t, want, st.Text)
			if d == nogap.MySQL || d == nogap.MariaDB {
				require.Equal(t, tt.args, st.Args(values))
			} else {
				require.Equal(t, values[:tt.used], st.Args(values))
			}
		}
	}
}

// A brace in SQL of the program's own is no placeholder.
func TestLiteral(t *testing.T) {
	for _, d := range dialects {
		st := assume(t, d).Compile("a = {1} AND " + dialect.Literal("tags = '{1,{2}'") + " AND b = {2}")
		require.Contains(t, st.Text, " AND tags = '{1,{2}' AND b = ")
		require.Equal(t, []any{1, 2}, st.Args([]any{1, 2}))
		text, _ := st.WithLiterals().Bind([]any{1, 2})
		require.Contains(t, text, " AND tags = '{1,{2}' AND b = ")
	}
}

type valuer string

func (v valuer) Value() (driver.Value, error) { return "converted", nil }

func TestBind(t *testing.T) {
	const template = "a = {2} AND b < {1} - {2}"
	type kind string
	for name, tt := range map[string]struct {
		values []any
		mysql  string // with literals; empty if there are none
	}{
		"integers":                {[]any{int64(-5), 7}, "a = 7 AND b < -5 - 7"},
		"the largest":             {[]any{int64(math.MinInt64), uint64(math.MaxUint64)}, "a = CAST(18446744073709551615 AS UNSIGNED) AND b < -9223372036854775808 - CAST(18446744073709551615 AS UNSIGNED)"},
		"plain text":              {[]any{1, "sku-1_A.b:c/d@e"}, "a = 'sku-1_A.b:c/d@e' AND b < 1 - 'sku-1_A.b:c/d@e'"},
		"a kind of text":          {[]any{1, kind("x")}, "a = 'x' AND b < 1 - 'x'"},
		"a quote":                 {[]any{1, "O'Brien"}, ""},
		"a backslash":             {[]any{1, `\`}, ""},
		"a space":                 {[]any{1, "a "}, ""},
		"a placeholder":           {[]any{1, "?"}, ""},
		"a control character":     {[]any{1, "a\x00"}, ""},
		"not ASCII":               {[]any{1, "é"}, ""},
		"no text":                 {[]any{1, ""}, ""},
		"what converts itself":    {[]any{1, valuer("x")}, ""},
		"bytes":                   {[]any{1, []byte("x")}, ""},
		"a fraction":              {[]any{1, 1.5}, ""},
		"a truth value":           {[]any{1, true}, ""},
		"NULL":                    {[]any{1, nil}, ""},
		"a pointer":               {[]any{1, new(int)}, ""},
		"more values than needed": {[]any{1, 2, "'"}, "a = 2 AND b < 1 - 2"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, d := range dialects {
				placeholders := assume(t, d).Compile(template)
				text, args := placeholders.Bind(tt.values)
				require.Equal(t, placeholders.Text, text)
				require.Equal(t, placeholders.Args(tt.values), args)

				text, args = placeholders.WithLiterals().Bind(tt.values)
				if tt.mysql != "" && (d == nogap.MySQL || d == nogap.MariaDB) {
					require.Equal(t, tt.mysql, text)
					require.Empty(t, args)
					continue
				}
				require.Equal(t, placeholders.Text, text)
				require.Equal(t, placeholders.Args(tt.values), args)
			}
		})
	}
}

// Text is either a literal that has nothing special in it, or not in the statement at all.
func FuzzBind(f *testing.F) {
	for _, seed := range []string{"sku-1", "'", `\'`, "a'b", "--", "/*", "\xbf'", "é"} {
		f.Add(seed)
	}
	literal := regexp.MustCompile(`^x = '([a-zA-Z0-9._:/@-]+)'$`)
	f.Fuzz(func(t *testing.T, value string) {
		text, args := assume(t, nogap.MySQL).Compile("x = {1}").WithLiterals().Bind([]any{value})
		if m := literal.FindStringSubmatch(text); m != nil {
			require.Equal(t, value, m[1])
			require.Empty(t, args)
			return
		}
		require.Equal(t, "x = ?", text)
		require.Equal(t, []any{value}, args)
	})
}

func TestCompileBadTemplate(t *testing.T) {
	for _, template := range []string{"{", "{}", "{0}", "{-1}", "{+1}", "{01}", "{1", "{x}", "{ 1}", "{1 }", "{99999999999999999999}", "a{{1}}"} {
		for _, d := range dialects {
			require.Panics(t, func() { assume(t, d).Compile(template) }, template)
		}
	}
}

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// Whatever the template, the value of each placeholder is the same on every server.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{"", "x = {1}", "{2}{1}{2}", "{10} {9}", "{", "}", "{0}", "{1}}", "a?b {1}", "$1 {2}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		if strings.Contains(template, "\x00") {
			return // no SQL holds one, and no Ident: Literal writes it for a brace
		}
		valid, most := true, 0
		var numbers []int
		for _, m := range placeholder.FindAllStringSubmatch(template, -1) {
			n, err := strconv.Atoi(m[1])
			if err != nil || n < 1 || strconv.Itoa(n) != m[1] {
				valid = false
			}
			numbers = append(numbers, n)
			most = max(most, n)
		}
		if strings.Contains(placeholder.ReplaceAllString(template, ""), "{") {
			valid = false
		}
		if most > 1000 {
			return // as many values as that need memory, and show nothing new
		}
		values := make([]any, most)
		for i := range values {
			values[i] = i + 1
		}
		for _, d := range dialects {
			var st dialect.Statement
			compile := func() { st = assume(t, d).Compile(template) }
			if !valid {
				require.Panics(t, compile)
				continue
			}
			compile()
			rebuild := func(written func(n int) string) string {
				return placeholder.ReplaceAllStringFunc(template, func(p string) string {
					n, _ := strconv.Atoi(p[1 : len(p)-1])
					return written(n)
				})
			}
			switch d {
			case nogap.Postgres:
				require.Equal(t, rebuild(func(n int) string { return "$" + strconv.Itoa(n) }), st.Text)
				require.Equal(t, values, st.Args(values))
			case nogap.SQLite:
				require.Equal(t, rebuild(func(n int) string { return "?" + strconv.Itoa(n) }), st.Text)
				require.Equal(t, values, st.Args(values))
			default:
				require.Equal(t, rebuild(func(int) string { return "?" }), st.Text)
				args := st.Args(values)
				require.Len(t, args, len(numbers))
				for i, n := range numbers {
					require.Equal(t, n, args[i])
				}
			}
		}
	})
}
