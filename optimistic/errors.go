package optimistic

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/table"
)

const prefix = "optimistic: "

// ErrVersionConflict is returned when the row has another version than the one from which the write was decided:
// somebody else wrote it in between, or the same item was written earlier in a transaction, where it keeps its
// version (see Table.WithTx). Nothing was written. A Table returns it inside a *ConflictError. A function that is
// given to RetryOnVersionConflict returns it, wrapped or not, to be called again.
var ErrVersionConflict = errors.New(prefix + "version conflict")

// ErrDuplicate is returned by Insert when a unique index has the row already: the index of the key or another one.
// Nothing was written. The server's error, which names the index, is wrapped with it.
var ErrDuplicate = errors.New(prefix + "duplicate row")

// ErrRetriesExhausted is nogap.ErrRetriesExhausted. It is returned when every attempt was lost. Nothing was written.
// Modify and RetryOnVersionConflict return it together with ErrVersionConflict, in one error that also has a
// *ConflictError with the number of attempts. Update and Delete try again only after a deadlock or a serialization
// failure, and return it with the server's error.
var ErrRetriesExhausted = nogap.ErrRetriesExhausted

// ConflictError says which row has another version than the one that was read. errors.Is finds ErrVersionConflict in it.
type ConflictError struct {
	Table    string // empty if RetryOnVersionConflict gave up, and fn's last error held no *ConflictError
	Key      []any  // one value for each key column
	Version  any    // the version that was read and is stale now, of the field's own type; nil if no write was refused
	Attempts int    // how many writes were lost, 1 for Update and Delete
	cause    error  // what the last attempt failed with, on giving up
	given    bool   // the item was the caller's, who may have written it before, in a transaction
}

// Error returns a text such as
// "optimistic: items at [42]: version conflict: the row no longer has version 7 (attempt 3)". For Update and Delete it adds
// what may have happened: somebody else wrote the row, or the item's key was changed, or the item was written earlier in a
// transaction.
func (e *ConflictError) Error() string {
	text := prefix
	if e.Table != "" {
		text += fmt.Sprintf("%s at %v: ", e.Table, displayedKey(e.Key))
	}
	text += strings.TrimPrefix(ErrVersionConflict.Error(), prefix)
	switch {
	case e.cause != nil && !errors.As(e.cause, new(*ConflictError)):
		return fmt.Sprintf("%s in each of %d attempts: %v", text, e.Attempts, e.cause)
	case e.Table != "":
		text += fmt.Sprintf(": the row no longer has version %v (attempt %d)", displayed(e.Version), e.Attempts)
		if e.given {
			text += ": somebody else wrote it, or the item's key was changed, or it was written earlier in a transaction: read it again"
		}
		return text
	}
	return fmt.Sprintf("%s (attempt %d)", text, e.Attempts)
}

// Unwrap returns ErrVersionConflict and, if that is something else, what the last attempt failed with.
func (e *ConflictError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrVersionConflict}
	}
	return []error{ErrVersionConflict, e.cause}
}

// gaveUp returns the error of a call whose last attempt failed with err. row says which row it is about, if that is
// known.
func gaveUp(row ConflictError, err error, attempts int) error {
	row.Attempts, row.cause = attempts, err
	if last := (*ConflictError)(nil); errors.As(err, &last) {
		row.Table, row.Key, row.Version, row.given = last.Table, last.Key, last.Version, last.given
	}
	return &row
}

// placedError is an error with the row that it is about.
type placedError struct {
	place string
	err   error
}

func (e *placedError) Error() string {
	return e.place + ": " + strings.TrimPrefix(e.err.Error(), prefix)
}

func (e *placedError) Unwrap() error { return e.err }

// isPlaced reports whether an error says which row it is about.
func isPlaced(err error) bool {
	return errors.As(err, new(*placedError)) || errors.As(err, new(*ConflictError)) || errors.As(err, new(*table.Obstacle))
}

// fail gives an error the package's name, which a *ConflictError has already.
func fail(err error) error {
	if err == nil || errors.As(err, new(*ConflictError)) {
		return err
	}
	return fmt.Errorf(prefix+"%w", err)
}

// classify names the outcome of the package's own errors for observers.
func classify(err error) nogap.Outcome {
	if errors.Is(err, ErrVersionConflict) {
		return nogap.OutcomeConflict
	}
	if errors.Is(err, ErrDuplicate) {
		return nogap.OutcomeRefused
	}
	return ""
}
