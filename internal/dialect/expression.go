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
	return strings.ReplaceAll(fmt.Sprintf(s.amounts[n], placeholder(index)), "{scale}", placeholder(index, scaleOf))
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

// Verify returns the end of an UPDATE that makes it fail, so that nothing is written, if a condition does not hold for the
// row with its new values: as a trigger BEFORE the UPDATE has left them, not one AFTER it. Otherwise the UPDATE returns a
// number. It is empty where the server has nothing for that; see Look.Rewrites.
func (s Server) Verify(condition string) string {
	if s.verifyStored == "" {
		return ""
	}
	return fmt.Sprintf(s.verifyStored, condition)
}

// ToCome returns the condition that the time in a column has not come yet by the server's clock, or "" if only the driver
// knows which instant the column holds.
func (s Server) ToCome(column Ident) string {
	if s.toCome == "" {
		return ""
	}
	return fmt.Sprintf(s.toCome, s.Quote(column))
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

// Values returns the template of n values, numbered from first.
func (s Server) Values(n, first int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = placeholder(first + i)
	}
	return strings.Join(all, ", ")
}

// scaleOf in a placeholder stands for the decimal places of the value, in the text of the statement.
const scaleOf = ".scale"

func placeholder(index int, of ...string) string {
	return "{" + strconv.Itoa(index) + strings.Join(of, "") + "}"
}
