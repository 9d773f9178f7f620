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
	// Start is called before the operation does anything. The operation goes on with the returned context, so its
	// statements, and the spans of an instrumented driver, belong to what the Observer put there. The returned function
	// is called once, when the operation has ended, on the goroutine of the operation. It must not be nil.
	//
	// Start may be called concurrently, and must not panic. Both run in the caller's time.
	Start(ctx context.Context, op Operation) (context.Context, func(Result))
}

// Operation says what is about to be done.
type Operation struct {
	// Name is the package and the method, such as "atomic.Decrement".
	Name string
	// Table is the name of the table as it was given; empty for a named lock and other operations without a table.
	// It is never the key of a row.
	Table string
}

// Result says how an operation ended.
type Result struct {
	// Outcome is fit for a label of a metric.
	Outcome Outcome
	// Attempts is how many transactions or statements were begun for the operation, 1 if nothing had to be run again. It
	// is 0 if the operation was refused before anything was sent.
	Attempts int
	// Batch is how many calls were carried out together with this one, itself included, if it was made on a Coalescer;
	// else it is 0.
	Batch int
	// Waited is how long the operation waited for its turn in this process, and for locks as far as that is known.
	Waited time.Duration
	// Err is the error that the operation returned. Its text may hold a key.
	Err error
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
// objects that were made before. Several observers see an operation in the order in which they were registered. What an
// operation calls inside is not reported; what a callback calls is. LockRow and Guard in a transaction that nogap did not
// begin are not seen, because such a transaction does not tell its *sql.DB.
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
