package dialect

import (
	"database/sql/driver"
	"reflect"
	"strconv"
	"strings"
)

// Statement is SQL in the server's own notation for parameters.
type Statement struct {
	Text string
	// order says which of the caller's values each placeholder takes; nil if they take them one by one.
	order []int
	// used is how many of the caller's values there are for it.
	used int
	// between is what stands before, between and behind the placeholders on MySQL, and literals says that values may be
	// written in their place.
	between  []string
	literals bool
	// scales are the places in Text where the scale of a value stands, which Bind writes.
	scales   []scalePlace
	decimals decimals
}

// brace stands in a template for a brace that begins no placeholder.
const brace = "\x00"

// Literal returns SQL of the program's own, which holds no NUL, as a part of a template. Its braces stand for themselves.
func Literal(text string) string { return strings.ReplaceAll(text, "{", brace) }

// scalePlace is where in a text the scale of the caller's value number value+1 belongs.
type scalePlace struct{ at, value int }

// Compile turns a template, in which {1}, {2} … stand for the caller's values and may be repeated, into the server's
// notation. {1.scale} stands for the decimal places of the value, in the text. Braces of another kind come from Literal alone,
// since a brace cannot be part of an Ident.
func (s Server) Compile(template string) Statement {
	template = s.strictly(template)
	var b strings.Builder
	var order []int
	var between []string
	var scales []scalePlace
	used := 0
	for {
		before, rest, found := strings.Cut(template, "{")
		before = strings.ReplaceAll(before, brace, "{")
		b.WriteString(before)
		if s.placeholders == questionMarks {
			between = append(between, before)
		}
		if !found {
			break
		}
		number, after, closed := strings.Cut(rest, "}")
		number, scale := strings.CutSuffix(number, scaleOf)
		n, err := strconv.Atoi(number)
		if !closed || err != nil || n < 1 || strconv.Itoa(n) != number {
			panic("dialect: bad placeholder {" + number + "} in " + template)
		}
		used = max(used, n)
		if scale {
			scales = append(scales, scalePlace{b.Len(), n - 1})
			template = after
			continue
		}
		switch s.placeholders {
		case dollars:
			b.WriteString("$" + number)
		case numberedQuestionMarks:
			b.WriteString("?" + number)
		case questionMarks:
			b.WriteByte('?')
			order = append(order, n-1)
		}
		template = after
	}
	if inOrder(order) {
		order = nil
	}
	if scales != nil {
		between = nil // such amounts are no literals
	}
	st := Statement{Text: b.String(), order: order, used: used, between: between, scales: scales}
	if scales != nil {
		st.decimals = s.decimals
	}
	return st
}

// WithLiterals returns the statement for one whose latency many callers wait for. On MySQL and MariaDB, Bind then writes the
// values into its text where that is safe: with placeholders the driver prepares, executes and closes it, which takes two
// round trips.
func (st Statement) WithLiterals() Statement {
	st.literals = true
	return st
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

// Bind returns what to send for the values: the text, and the arguments for its placeholders.
func (st Statement) Bind(values []any) (text string, args []any) {
	args = st.Args(values)
	if st.scales != nil {
		return st.withScales(values), args
	}
	if !st.literals || st.between == nil {
		return st.Text, args
	}
	b := make([]byte, 0, 2*len(st.Text))
	for i, arg := range args {
		b = append(b, st.between[i]...)
		var ok bool
		if b, ok = appendLiteral(b, arg); !ok {
			return st.Text, args
		}
	}
	return string(append(b, st.between[len(args)]...)), nil
}

// withScales returns the text with the scales of the values.
func (st Statement) withScales(values []any) string {
	b, from := make([]byte, 0, len(st.Text)+2*len(st.scales)), 0
	for _, s := range st.scales {
		b = append(b, st.Text[from:s.at]...)
		b = strconv.AppendInt(b, int64(st.decimals.scaleFor(values[s.value])), 10)
		from = s.at
	}
	return string(append(b, st.Text[from:]...))
}

// appendLiteral writes a value as SQL, if it means there what it means as an argument, in every sql_mode and every
// character set of a client: an integer, or text of plain characters.
func appendLiteral(b []byte, value any) ([]byte, bool) {
	if _, converts := value.(driver.Valuer); converts {
		return b, false
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return strconv.AppendInt(b, v.Int(), 10), true
	case v.CanUint():
		// Without the cast a number of less than 2^63 is a signed one.
		return append(strconv.AppendUint(append(b, "CAST("...), v.Uint(), 10), " AS UNSIGNED)"...), true
	case v.Kind() == reflect.String && isPlain(v.String()):
		return append(append(append(b, '\''), v.String()...), '\''), true
	}
	return b, false
}

func isPlain(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.:/@", c) >= 0:
		default:
			return false
		}
	}
	return text != "" // which is NULL under EMPTY_STRING_IS_NULL
}
