package dialect

import "fmt"

// LockMode is how strongly SELECT locks the rows that it reads, in PostgreSQL's words; see
// https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS.
type LockMode int

// The modes, strongest first.
const (
	ForUpdate LockMode = iota
	ForNoKeyUpdate
	ForShare
	ForKeyShare
	lockModes
)

// String returns the mode in SQL.
func (m LockMode) String() string {
	return [...]string{"FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR KEY SHARE"}[m]
}

// Exclusive reports whether only one transaction at a time can hold a row in this mode.
func (m LockMode) Exclusive() bool { return m == ForUpdate || m == ForNoKeyUpdate }

// LockWait is what SELECT does about a row that somebody else has locked.
type LockWait int

// What to do.
const (
	// Wait as long as the server's settings allow.
	Wait LockWait = iota
	// NoWait fails at once.
	NoWait
	// SkipLocked passes over the row.
	SkipLocked
	lockWaits
)

// String returns the clause in SQL.
func (w LockWait) String() string {
	return [...]string{"", "NOWAIT", "SKIP LOCKED"}[w]
}

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
	case len(table.parts) == 0:
		// Does nothing unless the database was made with auto_vacuum, and then at most gives one free page back. Of the
		// statements that need no table it is the only one that begins a write and then has nothing to write.
		return "PRAGMA incremental_vacuum(1)"
	}
	return "DELETE FROM " + s.Quote(table) + " WHERE 0"
}
