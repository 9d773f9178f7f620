package dialect

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Amount returns the template of a bound amount, the caller's value number index, typed so that the server computes with
// it as exactly as with the column.
func (s Server) Amount(n Number, index int) string {
	return fmt.Sprintf(s.amounts[n], placeholder(index))
}

// Numeric returns a column as it is compared with a number of that kind.
func (s Server) Numeric(n Number, column Ident) string {
	if n == Verbatim {
		return s.Quote(column)
	}
	return fmt.Sprintf(s.numeric, s.Quote(column))
}

// NoOverflow returns the condition under which the sum of a column and an amount is exact, or "" if the server itself
// refuses a sum that is not.
func (s Server) NoOverflow(column, amount, sum string) string {
	if s.noOverflow == "" {
		return ""
	}
	return fmt.Sprintf(s.noOverflow, column, amount, sum)
}

// Verify returns the templates of what makes an UPDATE fail, so that nothing is written, if a condition does not hold for
// the row with its new values: a further assignment behind that of the column, and the end of the statement. Without a
// round trip more PostgreSQL also sees what a trigger BEFORE the UPDATE makes of them, and MySQL and MariaDB what does not
// fit a column, which they cut if the sql_mode is not strict. SQLite can't see what is done AFTER the UPDATE.
func (s Server) Verify(column Ident, condition string) (assignment, end string) {
	if s.verifyAssigned != "" {
		assignment = fmt.Sprintf(s.verifyAssigned, s.Quote(column), condition)
	}
	if s.verifyStored != "" {
		end = fmt.Sprintf(s.verifyStored, s.Quote(column), condition)
	}
	return assignment, end
}

// Unverified reports whether err may be that of a statement that Verify has made fail.
func Unverified(err error) bool {
	m := sqlerr.Of(err)
	return m.Has(sqlerr.DivisionByZero) || m.Has(sqlerr.OutOfRange)
}

// Equals returns the template of a condition that holds when each column equals its value, whose placeholders are
// numbered from first.
func (s Server) Equals(columns []Ident, first int) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString(s.Quote(c) + " = " + placeholder(first+i))
	}
	return b.String()
}

func placeholder(index int) string { return "{" + strconv.Itoa(index) + "}" }
