package optimistic

import (
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
)

// statements is the SQL of one Table on one server. Their values come in the order: data, next version, key, version
// that was read; each without what it doesn't need.
type statements struct {
	// load reads a row; loadLocked locks it as well.
	load, loadLocked dialect.Statement
	// writeLock comes before loadLocked in its transaction, if it is not empty.
	writeLock string
	// version reads the version alone; latestVersion reads the one that a write would meet, also inside a transaction
	// that otherwise goes on seeing the past. latestLocks says that it locks the row for that.
	version, latestVersion dialect.Statement
	latestLocks            bool
	// spelling reads the version and its text. It is there for timestamps where times have no type.
	spelling dialect.Statement
	// update writes a row that still has the version; updateReturns says that it returns the new one.
	update        dialect.Statement
	updateReturns bool
	// jump is update for an integer that is counted up by more than one. It fails if anything else is stored, where the
	// server can tell; where it can't, mayMiscount says that a trigger may store something else.
	jump        dialect.Statement
	mayMiscount bool
	// verifies: update and jump return a number if they write the row, unless updateReturns.
	verifies bool
	// delete deletes a row that still has the version; deleteReturns says that it returns a number then. noDelete says why
	// it can't.
	delete        dialect.Statement
	deleteReturns bool
	noDelete      error
}

func newStatements(s dialect.Server, table dialect.Ident, m mapping, k versionKind) (*statements, error) {
	lock, err := s.LockClause(dialect.ForUpdate, dialect.Wait)
	if err != nil {
		return nil, err
	}
	version := s.Quote(m.version.Name)
	if k == xminVersion {
		version = s.SystemVersion
	}
	from := " FROM " + s.Quote(table) + " WHERE " + s.Equals(m.keyNames(), 1)
	load, peek := "SELECT "+columnList(s, m, version)+from, "SELECT "+version+from
	q := &statements{
		load:          s.Compile(load),
		loadLocked:    s.Compile(load + lock),
		writeLock:     s.WriteLock(table),
		version:       s.Compile(peek),
		latestVersion: s.Compile(peek + s.LatestRead),
		latestLocks:   s.LatestRead != "",
		delete:        s.Compile("DELETE FROM " + s.Quote(table) + condition(s, m, version, 1) + s.Returning),
		deleteReturns: s.Returning != "",
	}
	if k == timestampVersion && s.TypelessTimes {
		q.spelling = s.Compile("SELECT " + version + ", CAST(" + version + " AS TEXT)" + from)
	}
	update := updateTemplate(s, table, m, k, version)
	verified := s.Verify(version + " " + s.NullSafeEquals + " " + placeholder(len(m.data)+1))
	q.jump, q.verifies = s.Compile(update+verified), verified != ""
	// The program knows the integer or the token that it writes, and RETURNING them would take PostgreSQL a tenth longer. A
	// timestamp may be set by a trigger.
	if q.updateReturns = k == xminVersion || k == timestampVersion && s.UpdateReturning; q.updateReturns {
		update += " RETURNING " + version
	} else {
		// A trigger that puts the old version back would let the next writer win too.
		read := placeholder(len(m.data) + 1 + len(m.key) + 1)
		update += s.Verify("NOT (" + version + " " + s.NullSafeEquals + " " + read + ")")
	}
	q.update = s.Compile(update)
	return q, nil
}

// columnList returns what a SELECT reads of a row.
func columnList(s dialect.Server, m mapping, version string) string {
	columns := make([]string, len(m.all))
	for i, c := range m.all {
		columns[i] = s.Quote(c.Name)
		if c.Name.String() == m.version.Name.String() {
			columns[i] = version
		}
	}
	return strings.Join(columns, ", ")
}

func updateTemplate(s dialect.Server, table dialect.Ident, m mapping, k versionKind, version string) string {
	var set []string
	for _, c := range m.data {
		set = append(set, s.Quote(c.Name)+" = "+placeholder(len(set)+1))
	}
	if k != xminVersion {
		set = append(set, version+" = "+placeholder(len(set)+1))
	}
	return "UPDATE " + s.Quote(table) + " SET " + strings.Join(set, ", ") + condition(s, m, version, len(set)+1)
}

// condition returns the condition that the row still has the version that was read, with placeholders numbered from
// first. A field that can hold NULL is compared so that NULL equals NULL: a row that never had a version is written on
// that condition.
func condition(s dialect.Server, m mapping, version string, first int) string {
	equals := "="
	if nullable(m.version.Type) {
		equals = s.NullSafeEquals
	}
	return " WHERE " + s.Equals(m.keyNames(), first) + " AND " + version + " " + equals + " " + placeholder(first+len(m.key))
}

func placeholder(n int) string { return "{" + strconv.Itoa(n) + "}" }
