package dialect

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// UniqueIndexes returns a query that counts the unique indexes on exactly these columns, in any order, that cover all rows
// and whole values. Names of columns compare without regard to case, as the servers treat them. ok is false where it need
// not be asked: the server refuses an ON CONFLICT that has no such index.
func (s Server) UniqueIndexes(table Ident, columns []Ident) (query Statement, args []any, ok bool) {
	return s.indexes(s.uniqueIndexes, table, columns)
}

// KeyIndex returns a query for the name of such an index, of which there may be none. ok is false where ManyRows need not name
// one.
func (s Server) KeyIndex(table Ident, columns []Ident) (query Statement, args []any, ok bool) {
	return s.indexes(s.keyIndex, table, columns)
}

func (s Server) indexes(template string, table Ident, columns []Ident) (query Statement, args []any, ok bool) {
	if template == "" {
		return Statement{}, nil, false
	}
	args = []any{table.Last(), table.Qualifier()}
	ours := make([]string, len(columns))
	for i, c := range columns {
		args = append(args, c.String())
		ours[i] = "lower(" + placeholder(i+3) + ")"
	}
	return s.Compile(fmt.Sprintf(template, len(ours), strings.Join(ours, ", "))), args, true
}

// SameTable returns a query for 1 if two names are of one table, else 0.
func (s Server) SameTable(a, b Ident) (query Statement, args []any) {
	return s.Compile(s.sameTable), []any{a.Qualifier(), a.Last(), b.Qualifier(), b.Last()}
}

// MakesValues returns a query for 1 if the server makes a value of the column where an INSERT leaves it out, and says which
// one, else 0.
func (s Server) MakesValues(table, column Ident) (query Statement, args []any) {
	return s.Compile(s.makesValues), []any{table.Last(), table.Qualifier(), column.String()}
}

// SameColumn reports whether two names are of one column of a table.
func (s Server) SameColumn(a, b Ident) bool {
	return a.String() == b.String() || s.FoldsColumns && strings.EqualFold(a.String(), b.String())
}

// KeepsMicroseconds reports whether a column of a type, as Look has it, keeps times to the microsecond.
func (s Server) KeepsMicroseconds(columnType string) bool {
	return slices.Contains(strings.Split(s.timesOfSix, "|"), strings.ToLower(columnType))
}

// notNumbers matches the types whose values are texts, bytes or times. A domain's name matches as a whole word only.
var notNumbers = regexp.MustCompile(`(?i)^(n?(var)?char|character|national|native|varying|(tiny|medium|long)?(text|blob)|clob|` +
	`(var)?binary|bytea|date|datetime|time|timestamp|timestamptz|year|interval|uuid|enum|set|bit|jsonb?)\b`)

// IsNumber reports whether a column of a type, as Look has it, holds numbers, as far as its name tells.
func IsNumber(columnType string) bool { return !notNumbers.MatchString(columnType) }

// typeOf matches the name of a type and its precision and scale.
var typeOf = regexp.MustCompile(`^([a-z]+)(?: *\((\d+)(?:, *(\d+))?\))?`)

// IsNarrow reports whether a column of a type, as Look has it, is known to hold fewer integers than one of 64 bits.
func (s Server) IsNarrow(columnType string) bool {
	m := typeOf.FindStringSubmatch(strings.ToLower(columnType))
	if m == nil || s.narrow == "" {
		return false
	}
	if exact := m[1] == "numeric" || m[1] == "decimal"; exact && m[2] != "" {
		digits, _ := strconv.Atoi(m[2])
		scale, _ := strconv.Atoi(m[3])
		return digits-scale < 19
	}
	return slices.Contains(strings.Split(s.narrow, "|"), m[1])
}

// ExactText returns the type of a column for text of at most so many bytes that compares byte by byte.
func (s Server) ExactText(bytes int) string {
	if strings.Contains(s.exactText, "%") {
		return fmt.Sprintf(s.exactText, bytes)
	}
	return s.exactText
}

// SameBytes returns the condition that two texts are the same, also where their collation ignores case or blanks.
func (s Server) SameBytes(a, b string) string { return fmt.Sprintf(s.sameBytes, a, b) }

// ExactBytes returns the type of a column for so many bytes at most that compares them exactly.
func (s Server) ExactBytes(n int) string {
	if strings.Contains(s.exactBytes, "%") {
		return fmt.Sprintf(s.exactBytes, n)
	}
	return s.exactBytes
}

// Ago returns the server's time as many microseconds ago as the value says, whose placeholder is given.
func (s Server) Ago(value string) string { return fmt.Sprintf(s.ago, value) }

// TableOptions returns what stands at the end of a CREATE TABLE, so that the table is transactional.
func (s Server) TableOptions() string { return s.tableOptions }
