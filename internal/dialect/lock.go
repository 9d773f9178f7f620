package dialect

import "fmt"

// LockClause returns what stands at the end of a SELECT that locks, with a space in front. What the server does not
// have is an error that names both.
//
// Without RowLocks the clause of an exclusive lock that waits is empty: WriteLock has to come before the SELECT there.
func (s Server) LockClause(m LockMode, w LockWait) (string, error) {
	clause := s.modes[m]
	switch {
	case clause == "" && (s.RowLocks || m != ForUpdate):
		return "", s.lacks(m)
	case !s.waits[w]:
		return "", s.lacks(w)
	case w != Wait:
		clause += " " + w.String()
	}
	return clause, nil
}

func (s Server) lacks(feature fmt.Stringer) error {
	return fmt.Errorf("%v has no %v", s, feature)
}

// WriteLock returns the statement that takes the write lock of a server without RowLocks, without writing: as the first
// of a transaction it waits for other writers as long as busy_timeout says. A transaction that reads first and writes
// later gets no such wait, because what it has read may be stale by then. The zero Ident stands for no table in
// particular. The statement is empty for a server with RowLocks.
func (s Server) WriteLock(table Ident) string {
	switch {
	case s.RowLocks:
		return ""
	case table.IsZero():
		// Does nothing unless the database was made with auto_vacuum, and then at most gives one free page back. Of the
		// statements that need no table it is the only one that begins a write and then has nothing to write.
		return "PRAGMA incremental_vacuum(1)"
	}
	return "DELETE FROM " + s.Quote(table) + " WHERE 0"
}
