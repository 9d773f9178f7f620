package optimistic

import (
	"strconv"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// statements is the SQL of one Table on one server. Their values come in the order: data, next version, key, old version;
// each without what it doesn't need.
type statements struct {
	server dialect.Server
	// load reads a row; loadLocked locks it as well.
	load, loadLocked dialect.Statement
	// writeLock comes before loadLocked in its transaction, if it is not empty.
	writeLock string
	// peek reads the version alone; peekLatest reads the one that a write would meet, also inside a transaction that
	// otherwise goes on seeing the past.
	peek, peekLatest dialect.Statement
	// spelling reads the version and its text. Only SQLite has it, for timestamps.
	spelling dialect.Statement
	// swap writes a row that still has the old version; returning says that it returns the new one.
	swap      dialect.Statement
	returning bool
	// remove deletes a row that still has the old version.
	remove dialect.Statement
}

func newStatements(s dialect.Server, table dialect.Ident, m mapping, k kind) (*statements, error) {
	lock, err := s.LockClause(dialect.ForUpdate, dialect.Wait)
	if err != nil {
		return nil, err
	}
	name := s.Quote(table)
	key := make([]dialect.Ident, len(m.key))
	for i, c := range m.key {
		key[i] = c.name
	}
	version := s.Quote(m.version.name)
	if k == xmin {
		version = "xmin::text::bigint" // neither database/sql nor all drivers know the type xid
	}

	columns := make([]string, len(m.all))
	for i, c := range m.all {
		columns[i] = s.Quote(c.name)
		if c.name.String() == m.version.name.String() {
			columns[i] = version
		}
	}
	from := " FROM " + name + " WHERE " + s.Equals(key, 1)
	load := "SELECT " + strings.Join(columns, ", ") + from
	peek := "SELECT " + version + from

	var set []string
	for _, c := range m.data {
		set = append(set, s.Quote(c.name)+" = "+placeholder(len(set)+1))
	}
	if k != xmin {
		set = append(set, version+" = "+placeholder(len(set)+1))
	}
	swap := "UPDATE " + name + " SET " + strings.Join(set, ", ") + guard(s, key, version, m, len(set)+1)
	// The program knows the counter or the token that it writes, and RETURNING them would take PostgreSQL a tenth longer. A
	// timestamp may be set by a trigger.
	returning := k == xmin || k == timestamp && s.UpdateReturning()
	if returning {
		swap += " RETURNING " + version
	}

	st := &statements{
		server:     s,
		load:       s.Compile(load),
		loadLocked: s.Compile(load + lock),
		peek:       s.Compile(peek),
		peekLatest: s.Compile(peek),
		swap:       s.Compile(swap),
		returning:  returning,
		remove:     s.Compile("DELETE FROM " + name + guard(s, key, version, m, 1)),
	}
	if s.IsMySQL() {
		// Under REPEATABLE READ a SELECT sees the snapshot of the transaction, an UPDATE the newest row.
		st.peekLatest = s.Compile(peek + lock)
	}
	if s.Dialect == nogap.SQLite {
		st.spelling = s.Compile("SELECT " + version + ", CAST(" + version + " AS TEXT)" + from)
		st.writeLock = s.WriteLock(table)
	}
	return st, nil
}

func placeholder(n int) string { return "{" + strconv.Itoa(n) + "}" }

// guard returns the condition that the row still has its old version, with placeholders numbered from first. A field
// that can hold NULL is compared so that NULL equals NULL, which is the guard of a row that never had a version.
func guard(s dialect.Server, key []dialect.Ident, version string, m mapping, first int) string {
	equals := " = "
	if nullable(m.version.typ) {
		switch s.Dialect {
		case nogap.Postgres:
			equals = " IS NOT DISTINCT FROM "
		case nogap.SQLite:
			equals = " IS "
		default:
			equals = " <=> "
		}
	}
	return " WHERE " + s.Equals(key, first) + " AND " + version + equals + placeholder(first+len(key))
}
