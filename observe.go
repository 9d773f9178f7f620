package nogap

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/perdb"
)

// Observer is told of every operation on a *sql.DB, for traces and metrics. See Observe.
type Observer interface {
	// Start is called before the operation does anything. The operation goes on with the returned context. So the spans of
	// an instrumented driver belong to the span that the Observer put there. The returned function must not be nil. It is
	// called once, when the operation has ended, on the goroutine of the operation.
	//
	// Start may be called concurrently, and must not panic. The operation waits for both functions.
	Start(ctx context.Context, op Operation) (context.Context, func(Result))
}

// Operation says what is about to be done.
type Operation struct {
	// Name is the package and the method, such as "atomic.Decrement".
	Name string
	// Table is the name of the table as it was given. It is empty for operations without a table, such as a named lock. It
	// is never the key of a row.
	Table string
}

// Result says how an operation ended.
type Result struct {
	// Outcome has few values, so it may be the label of a metric.
	Outcome Outcome
	// Attempts is how many transactions or statements were begun for the operation: 1 if nothing had to be run again, and 0
	// if the operation was refused before anything was sent.
	Attempts int
	// Batch is how many calls a Coalescer carried out together, this one included. It is 0 for other operations.
	Batch int
	// Waited is how long the operation waited for its turn in this process, and for locks as far as that is known.
	Waited time.Duration
	// WaitedInServer is the part of Waited in which it waited for a lock in the server, or in Redis for another process. The rest was
	// spent in this process, without a connection. It is known for the locks of pessimistic and distlock: a statement that takes a
	// row lock counts as a whole.
	WaitedInServer time.Duration
	// Err is the error that the operation returned. Its text may hold a key.
	Err error
	// Callback says that Err is what the operation's callback returned: its own refusal, such as sold out, or a failure.
	Callback bool
}

// Outcome is how an operation ended, in one word.
type Outcome string

// The outcomes.
const (
	// OutcomeOK is that of an operation without an error.
	OutcomeOK Outcome = "ok"
	// OutcomeRefused is that of an operation whose own condition did not hold: too little was left, the row does not
	// exist, the lock is held. Nothing was written.
	OutcomeRefused Outcome = "refused"
	// OutcomeConflict is that of a write whose row has another version than it was decided from. Nothing was written.
	OutcomeConflict Outcome = "conflict"
	// OutcomeExhausted is that of an operation that lost every attempt: its error is ErrRetriesExhausted.
	OutcomeExhausted Outcome = "exhausted"
	// OutcomeUnknown is that of an operation whose error is ErrOutcomeUnknown.
	OutcomeUnknown Outcome = "unknown"
	// OutcomeError is that of an operation with any other error, that of a context or of a callback included.
	OutcomeError Outcome = "error"
)

// Observe shows every operation of the packages of nogap on db to o, until stop is called. This includes operations of
// objects that were made before. Several observers see an operation in the order in which they were registered. They do
// not see what an operation calls inside. They see what a callback calls. LockRow and Guard in a transaction that nogap did
// not begin are not seen, because such a transaction does not tell its *sql.DB.
//
// stop may be called more than once. An operation that has started is seen to its end. An Observer that refers to db
// keeps it alive until stop is called. Observe panics if db or o is nil.
func Observe(db *sql.DB, o Observer) (stop func()) {
	if db == nil {
		panic("nogap: Observe: db is nil")
	}
	if o == nil {
		panic("nogap: Observe: the Observer is nil")
	}
	return sync.OnceFunc(perdb.Observers.Of(db, nil).Add(o))
}
