package dialect_test

import (
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
			t.Skip()
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
