package optimistic

import (
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/txn"
)

// ErrVersionConflict says that the row has another version than the one the write was decided from: somebody else wrote
// it in between. Nothing was written. Table returns it inside a *ConflictError; a function that is given to
// RetryOnVersionConflict returns it, wrapped or not, to be called again.
var ErrVersionConflict = errors.New("optimistic: version conflict")

// ErrRetriesExhausted says that every attempt was lost. From Modify and RetryOnVersionConflict it comes together with
// ErrVersionConflict, in one error that also holds a *ConflictError with the number of attempts; from Update and Delete,
// which try again only after a deadlock or a serialization failure, with the server's error. Nothing was written.
var ErrRetriesExhausted = txn.ErrRetriesExhausted

// ConflictError says which row was written by somebody else. errors.Is finds ErrVersionConflict in it.
type ConflictError struct {
	Table    string // empty if RetryOnVersionConflict gave up, and fn's last error held no *ConflictError
	Key      []any  // one value for each key column
	Version  any    // the version that was read and is stale now, of the field's own type; nil if no guard failed
	Attempts int    // how many swaps were lost, 1 for Update and Delete
	cause    error  // what the last attempt failed with, on giving up
}

// Error returns a text such as "optimistic: version conflict: items [42] no longer has version 7 (attempt 1)".
func (e *ConflictError) Error() string {
	switch {
	case e.cause != nil && !errors.As(e.cause, new(*ConflictError)):
		row := ""
		if e.Table != "" {
			row = fmt.Sprintf(": %s %v", e.Table, e.Key)
		}
		return fmt.Sprintf("%v%s in each of %d attempts: %v", ErrVersionConflict, row, e.Attempts, e.cause)
	case e.Table != "":
		return fmt.Sprintf("%v: %s %v no longer has version %v (attempt %d)",
			ErrVersionConflict, e.Table, e.Key, shown(e.Version), e.Attempts)
	}
	return fmt.Sprintf("%v (attempt %d)", ErrVersionConflict, e.Attempts)
}

// Unwrap returns ErrVersionConflict and, if that is something else, what the last attempt failed with.
func (e *ConflictError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrVersionConflict}
	}
	return []error{ErrVersionConflict, e.cause}
}

// exhausted returns the error of a call that lost its last attempt with err. gaveUp says which row it is about, if that
// is known.
func exhausted(gaveUp ConflictError, err error, attempts int) error {
	gaveUp.Attempts, gaveUp.cause = attempts, err
	if last := (*ConflictError)(nil); errors.As(err, &last) {
		gaveUp.Table, gaveUp.Key, gaveUp.Version = last.Table, last.Key, last.Version
	}
	return fmt.Errorf("%w: %w", ErrRetriesExhausted, &gaveUp)
}
