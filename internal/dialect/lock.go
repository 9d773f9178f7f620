package dialect

import (
	"fmt"

	"github.com/nogap-go/nogap"
)

// LockMode is how strongly SELECT locks the rows that it reads, in PostgreSQL's words; see
// https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS.
type LockMode int

// The modes, strongest first.
const (
	ForUpdate LockMode = iota
	ForNoKeyUpdate
	ForShare
	ForKeyShare
)

var lockModes = [...]string{" FOR UPDATE", " FOR NO KEY UPDATE", " FOR SHARE", " FOR KEY SHARE"}

// String returns the mode in SQL.
func (m LockMode) String() string { return lockModes[m][1:] }

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
)

// String returns the clause in SQL.
func (w LockWait) String() string {
	return [...]string{"", "NOWAIT", "SKIP LOCKED"}[w]
}

// LockClause returns what stands at the end of a SELECT that locks, with a space in front. What the server does not
// have is an error that names both; a server whose version nobody asked for counts as a recent one here, since an old
// one refuses the statement.
//
// On SQLite, which locks the whole database and not rows, the clause of an exclusive lock that waits is empty: WriteLock
// has to come before the SELECT there.
func (s Server) LockClause(m LockMode, w LockWait) (string, error) {
	clause := lockModes[m]
	switch {
	case s.Dialect == nogap.SQLite:
		if m != ForUpdate {
			return "", s.lacks(m)
		}
		clause = ""
	case s.IsMySQL() && (m == ForNoKeyUpdate || m == ForKeyShare):
		return "", s.lacks(m)
	case s.Product == TiDB && m == ForShare: // parsed, and then ignored or refused, depending on a setting
		return "", s.lacks(m)
	case m == ForShare && s.Product == MariaDB, m == ForShare && s.olderThan(MySQL, 8, 0):
		clause = " LOCK IN SHARE MODE"
	}
	if w != Wait {
		if !s.hasWait(w) {
			return "", s.lacks(w)
		}
		clause += " " + w.String()
	}
	return clause, nil
}

func (s Server) hasWait(w LockWait) bool {
	switch {
	case s.Dialect == nogap.SQLite:
		return false
	case w == SkipLocked && s.Product == TiDB:
		return false
	case s.olderThan(MySQL, 8, 0), s.olderThan(MariaDB, 10, 3):
		return false
	case w == SkipLocked && s.olderThan(MariaDB, 10, 6):
		return false
	}
	return true
}

// olderThan reports whether the server is known to be p in a version below major.minor.
func (s Server) olderThan(p Product, major, minor int) bool {
	return s.Product == p && s.versionKnown() && !s.AtLeast(major, minor)
}

func (s Server) lacks(feature fmt.Stringer) error {
	return fmt.Errorf("%v has no %v", s, feature)
}

// WriteLock returns the statement that takes SQLite's one write lock without writing: as the first of a transaction it
// waits for other writers as long as busy_timeout says. A transaction that reads first and writes later gets no such
// wait, because what it has read may be stale by then. The zero Ident stands for no table in particular.
func (s Server) WriteLock(table Ident) string {
	if len(table.parts) == 0 {
		// Does nothing unless the database was made with auto_vacuum, and then at most gives one free page back. Of the
		// statements that need no table it is the only one that begins a write and then has nothing to write.
		return "PRAGMA incremental_vacuum(1)"
	}
	return "DELETE FROM " + s.Quote(table) + " WHERE 0"
}
