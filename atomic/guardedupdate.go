package atomic

import "github.com/nogap-go/nogap/internal/dialect"

// guardedUpdate is an update that happens only if a condition holds, its guard, and the question why it did not. Its
// arguments are numbered: those of the key come first, then the amount or the expected value, then the limit or the new
// value.
type guardedUpdate struct {
	statement dialect.Statement
	value     newValue
	// verifies: nobody asks for the new value, and the statement returns a number for the row that it changes.
	verifies bool
	// question selects the value and a finding; latest does so where the newest row must be seen inside a transaction.
	question, latest dialect.Statement
	refusal          error
	// verify selects 1 if the row holds what was written, after an update that can't tell; in the same transaction.
	verify dialect.Statement
}

// newValue is how the new value comes back.
type newValue int

const (
	checked  newValue = iota // nobody asks for it, but the statement fails if the row does not hold it, where the server can tell
	unneeded                 // nobody asks for it
	returned                 // by RETURNING
	insertID                 // as LAST_INSERT_ID
	readBack                 // by a SELECT in the same transaction
)

// The findings about a row that an update did not change.
const (
	refuses = iota // the guard does not hold
	holds          // it holds now: somebody changed the row in between
	noop           // it holds, and the new value is there already, so MySQL counted no row as changed
	fails          // it holds, and the condition of Where does not
)

// refusalOf returns what a finding says about a row that was not changed.
func (u *guardedUpdate) refusalOf(finding int) error {
	if finding == fails {
		return ErrConditionFailed
	}
	return u.refusal
}

// columnSQL are the guarded updates of one column in the SQL of its server.
type columnSQL struct {
	updates [changes]guardedUpdate
	// parts are those of which several make one change: nobody asks for their values.
	parts [changes]guardedUpdate
	// get selects the value.
	get dialect.Statement
	// creation is there with the option CreateMissing.
	creation creation
	// locksRefused: a question inside a transaction locks the row, so a refused call holds it.
	locksRefused bool
	// checkAmount returns an error for an amount that the server can't compute with.
	checkAmount func(amount any) error
}

// change says which of the guarded updates to make.
type change int

const (
	decrementOne change = iota
	decrement
	increment
	incrementUpTo
	compareAndSet
	// decrementOther is the decrement of a Transfer that has added before. Its last arguments are the key of the row that it
	// has added to, which may be the same one in another spelling.
	decrementOther
	changes
)
