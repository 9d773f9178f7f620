package dialect

import (
	"strconv"
	"strings"

	"github.com/nogap-go/nogap"
)

// Statement is SQL in the server's own notation for parameters.
type Statement struct {
	Text string
	// order says which of the caller's values each placeholder takes; nil if they take them one by one.
	order []int
	// used is how many of the caller's values there are for it.
	used int
}

// Compile turns a template, in which {1}, {2} … stand for the caller's values and may be repeated, into the server's
// notation: $1 on PostgreSQL, ?1 on SQLite, and on MySQL a ? for each occurrence. A brace cannot be part of an Ident,
// so quoted names are safe in a template.
func (s Server) Compile(template string) Statement {
	var b strings.Builder
	var order []int
	used := 0
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			break
		}
		number, after, closed := strings.Cut(rest, "}")
		n, err := strconv.Atoi(number)
		if !closed || err != nil || n < 1 || strconv.Itoa(n) != number {
			panic("dialect: bad placeholder {" + number + "} in " + template)
		}
		used = max(used, n)
		switch s.Dialect {
		case nogap.Postgres:
			b.WriteString("$" + number)
		case nogap.SQLite:
			b.WriteString("?" + number)
		default:
			b.WriteByte('?')
			order = append(order, n-1)
		}
		template = after
	}
	if inOrder(order) {
		order = nil
	}
	return Statement{Text: b.String(), order: order, used: used}
}

// inOrder reports whether each placeholder takes the next of the caller's values.
func inOrder(order []int) bool {
	for i, n := range order {
		if i != n {
			return false
		}
	}
	return true
}

// Args returns the values that the statement takes, in its order. Values behind the last one that it mentions are left
// out, since PostgreSQL counts them.
func (st Statement) Args(values []any) []any {
	if st.order == nil {
		return values[:st.used]
	}
	args := make([]any, len(st.order))
	for i, n := range st.order {
		args[i] = values[n]
	}
	return args
}

// Equals returns the template of a condition that holds when each column equals its value, whose placeholders are
// numbered from first.
func (s Server) Equals(columns []Ident, first int) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString(s.Quote(c) + " = {" + strconv.Itoa(first+i) + "}")
	}
	return b.String()
}
