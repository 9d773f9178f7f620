package dialect

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
