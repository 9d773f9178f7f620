package dialect

import (
	"strconv"
	"strings"
)

// manyRows is how rows that several keys name are locked and written by one statement each.
type manyRows int

// The ways. The zero one is none.
const (
	// byArrays: the values of a key column, and those to be written, are an array each, of which unnest makes rows. The text of
	// the statement is the same for any number of keys, so that a driver prepares it once.
	byArrays manyRows = iota + 1
	// byCases: each key stands in the statement, in a CASE and in a list.
	byCases
)

// ManyRows makes the statements that lock, read and write one column of many rows, whose keys are integers and text. A key is
// known by its number in the list of keys, from 1: what the server takes for equal need not look alike.
type ManyRows struct {
	// Returns: the statement of Set returns the number and the value as it is stored, for each row. Elsewhere the rows that
	// it has changed are counted.
	Returns bool

	server    Server
	table     Ident
	column    Ident
	key       []Ident
	number    Number
	text      []bool // whether a column of the key is text, and not an integer
	lock, set Statement
	clause    string
	alsoSet   string
	index     string // a hint, behind the name of the table
}

// ManyRows returns the statements for a table whose key columns have the types that Look tells, and false if there are none
// for this server or these types. alsoSet is the template of further assignments, each behind a comma.
//
// A row that another transaction has locked is passed over, so the statements wait for no row: two transactions that lock many
// rows each in this way can't wait for one another.
func (s Server) ManyRows(table, column Ident, key []Ident, types []string, n Number, alsoSet string) (*ManyRows, bool) {
	clause, err := s.LockClause(ForNoKeyUpdate, SkipLocked)
	if err != nil {
		clause, err = s.LockClause(ForUpdate, SkipLocked)
	}
	if err != nil || s.manyRows == 0 || len(types) != len(key) {
		return nil, false
	}
	if s.manyRows == byCases && len(key) > 1 {
		return nil, false // MariaDB reads the whole index for one key of several columns in an IN, and waits for rows that it passes
	}
	m := &ManyRows{server: s, table: table, column: column, key: key, number: n, clause: clause, alsoSet: alsoSet}
	arrays := make([]string, len(key))
	for i, t := range types {
		array, ok := keyArrays[wordOf(t)]
		if !ok {
			return nil, false
		}
		arrays[i] = array
		m.text = append(m.text, array != integerArray)
	}
	if s.manyRows == byArrays {
		m.Returns = true
		m.compileArrays(arrays)
	}
	return m, true
}

const integerArray = "BIGINT[]"

// keyArrays are the types of key columns that equal the values of an array exactly as they equal a value of their own, with the
// type of the array. An integer is compared as one of 64 bits, since a cast to a smaller type would fail.
var keyArrays = map[string]string{
	"smallint": integerArray, "integer": integerArray, "bigint": integerArray,
	"tinyint": integerArray, "mediumint": integerArray, "int": integerArray,
	"text": "TEXT[]", "character varying": "TEXT[]", "varchar": "TEXT[]", "uuid": "UUID[]",
}

// wordOf returns a type without what stands in brackets and behind.
func wordOf(columnType string) string {
	t := strings.ToLower(columnType)
	t, _, _ = strings.Cut(t, "(")
	return strings.TrimSuffix(strings.TrimSpace(t), " unsigned")
}

// OneByOne returns a query for a number that is not 0 if the rows of a table are better written each by a statement of its own: a
// trigger for each row could wait for something else than the row, and with it all rows of the statement; a view could too.
func (s Server) OneByOne(table Ident) (query Statement, args []any) {
	return s.Compile(s.oneByOne), []any{table.Last(), table.Qualifier()}
}

// By makes the statements reach the rows over an index, and through no others: what they passed over on the way they would
// wait for, if it is locked.
func (m *ManyRows) By(index Ident) { m.index = " FORCE INDEX (" + m.server.Quote(index) + ")" }

// Fits reports whether a key has the types of the columns.
func (m *ManyRows) Fits(key []any) bool {
	if len(key) != len(m.text) {
		return false
	}
	for i, v := range key {
		if _, text := v.(string); text != m.text[i] {
			return false
		}
	}
	return true
}

// Lock returns the statement that locks the rows that nobody else has locked, in the order of their keys, and selects the
// number of the key and the value of each.
func (m *ManyRows) Lock(keys [][]any) (text string, args []any) {
	if m.Returns {
		return m.lock.Text, m.arrays(keys)
	}
	q, list := m.cases(len(keys), func(i int) string { return strconv.Itoa(i + 1) }, "0"), m.list(len(keys))
	return m.server.Compile("SELECT " + q + ", " + m.server.Quote(m.column) + " FROM " + m.server.Quote(m.table) + m.index +
		" WHERE " + list + " ORDER BY " + m.server.QuoteAll(m.key) + m.clause).WithLiterals().Bind(flat(keys, nil))
}

// Set returns the statement that writes the values, which are integers, into the rows.
func (m *ManyRows) Set(keys [][]any, values []any) (text string, args []any) {
	if m.Returns {
		return m.set.Text, append(m.arrays(keys), arrayOf(len(values), func(i int) any { return values[i] }))
	}
	column, first := m.server.Quote(m.column), len(keys)*len(m.key)+1
	value := m.cases(len(keys), func(i int) string { return m.server.Amount(m.number, first+i) }, column)
	return m.server.Compile("UPDATE " + m.server.Quote(m.table) + m.index + " SET " + column + " = " + value + m.alsoSet +
		" WHERE " + m.list(len(keys))).WithLiterals().Bind(flat(keys, values))
}

// cases is what then returns for the number of the row's key, from 0.
func (m *ManyRows) cases(n int, then func(i int) string, otherwise string) string {
	var b strings.Builder
	b.WriteString("CASE " + m.server.Quote(m.key[0]))
	for i := range n {
		b.WriteString(" WHEN " + placeholder(i+1) + " THEN " + then(i))
	}
	b.WriteString(" ELSE " + otherwise + " END")
	return b.String()
}

// list is the condition that a row has one of n keys.
func (m *ManyRows) list(n int) string {
	return m.server.Quote(m.key[0]) + " IN (" + m.server.Values(n, 1) + ")"
}

// flat returns the values of the keys one after the other, and others behind them.
func flat(keys [][]any, others []any) (all []any) {
	for _, key := range keys {
		all = append(all, key...)
	}
	return append(all, others...)
}

// compileArrays makes the statements whose values are arrays.
func (m *ManyRows) compileArrays(types []string) {
	s := m.server
	var arrays, names, equal []string
	for i, t := range types {
		name := "nogap_" + strconv.Itoa(i+1)
		arrays = append(arrays, "CAST("+placeholder(i+1)+" AS "+t+")")
		names = append(names, name)
		equal = append(equal, s.Quote(m.key[i])+" = nogap."+name)
	}
	rows := func(arrays, names []string) string {
		return " FROM unnest(" + strings.Join(arrays, ", ") + ") WITH ORDINALITY AS nogap(" + strings.Join(names, ", ") + ", nogap_n)"
	}
	table, column, where := s.Quote(m.table), s.Quote(m.column), strings.Join(equal, " AND ")
	m.lock = s.Compile("SELECT nogap.nogap_n, " + column + rows(arrays, names) + " JOIN " + table + " ON " + where +
		" ORDER BY " + s.QuoteAll(m.key) + m.clause)
	values := "BIGINT[]"
	if m.number == Unsigned {
		values = "NUMERIC[]"
	}
	arrays = append(arrays, "CAST("+placeholder(len(types)+1)+" AS "+values+")")
	m.set = s.Compile("UPDATE " + table + " SET " + column + " = nogap.nogap_v" + m.alsoSet +
		rows(arrays, append(names, "nogap_v")) + " WHERE " + where + " RETURNING nogap.nogap_n, " + column)
}

// arrays returns an array for each column of the key.
func (m *ManyRows) arrays(keys [][]any) (args []any) {
	for column := range m.key {
		args = append(args, arrayOf(len(keys), func(i int) any { return keys[i][column] }))
	}
	return args
}

// arrayOf returns the text of an array of integers or of text.
// https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
func arrayOf(n int, element func(i int) any) string {
	b := []byte("{")
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		switch v := element(i).(type) {
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case uint64:
			b = strconv.AppendUint(b, v, 10)
		case string:
			b = append(append(append(b, '"'), arrayQuote.Replace(v)...), '"')
		}
	}
	return string(append(b, '}'))
}

var arrayQuote = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
