package effect

// Event is one half of a step: its dispatch or its completion.
type Event struct {
	Client int
	Step   int  // counts the steps of the client from 0
	Done   bool // the completion

	Reads    Set // of what others have made visible
	Locks    Set
	Visible  Set // what it makes visible to others
	Releases Set // whose locks it gives back

	// Serializable: the server watches what it reads as it does a lock.
	Serializable bool
}

// Conflict reports whether it can make a difference which of two events comes first. The events of one client are always in order.
func Conflict(a, b Event) bool {
	if a.Client == b.Client {
		return true
	}
	return a.Locks.Meets(b.Locks) ||
		oneWay(a, b) || oneWay(b, a) ||
		a.Visible.Meets(b.Visible)
}

func oneWay(a, b Event) bool {
	return a.Visible.Meets(b.Reads) || a.Visible.Meets(b.Locks) || a.Releases.Meets(b.Locks) ||
		(a.Serializable || b.Serializable) && a.Reads.Meets(b.Locks)
}

// Isolation is what counts of the level of a transaction.
type Isolation int

// A statement of ReadCommitted reads what is there when it is sent. The first one of a Snapshot reads everything. Under
// Serializable the server watches what is read, too.
const (
	ReadCommitted Isolation = iota
	Snapshot
	Serializable
)

// Command is what a step does to its transaction.
type Command int

// The commands.
const (
	Run Command = iota
	Begin
	Commit
	Rollback
)

// Tx is the transaction of one session, of which the effects of a step depend. The zero Tx is a session outside transactions.
type Tx struct {
	open   bool
	level  Isolation
	read   bool // has its snapshot
	reads  Set
	writes Set
	locks  Set
}

// Step returns the two events of a step and the session's transaction after it. level is that of the transaction which it is in or
// begins, or of a statement that is its own transaction.
func (t Tx) Step(c Command, level Isolation, a Access) (dispatch, done Event, after Tx) {
	switch c {
	case Begin:
		dispatch.Reads, done.Locks = a.Reads, a.Locks
		return dispatch, done, Tx{open: true, level: level, locks: a.Locks}
	case Commit, Rollback:
		if !t.open { // of a transaction that nobody has seen begin
			done.Visible, done.Releases = All(), All()
			return dispatch, done, Tx{}
		}
		done.Releases = t.locks.Union(t.writes)
		if c == Commit {
			done.Visible = t.writes
			if t.level == Serializable {
				done.Reads, done.Serializable = t.reads, true
			}
		}
		return dispatch, done, Tx{}
	}
	if !t.open {
		dispatch.Reads = a.Reads
		done.Locks, done.Visible = a.Locks.Union(a.Writes), a.Writes
		dispatch.Serializable = level == Serializable
		done.Serializable = dispatch.Serializable
		return dispatch, done, t
	}
	dispatch.Reads = a.Reads
	if t.level != ReadCommitted && !t.read && !a.Reads.Empty() {
		dispatch.Reads = All()
		t.read = true
	}
	done.Locks = a.Locks.Union(a.Writes)
	if a.Opaque { // it may have changed the level, too
		t.level = Serializable
		done.Visible, done.Releases = All(), All()
	}
	dispatch.Serializable = t.level == Serializable
	done.Serializable = dispatch.Serializable
	t.reads, t.writes, t.locks = t.reads.Union(a.Reads), t.writes.Union(a.Writes), t.locks.Union(a.Locks)
	return dispatch, done, t
}
