package atomic

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/table"
)

// Errors of a guard that refuses a change. Each comes inside a *RefusedError, which has the value that is there. One case of
// ErrLimit is an exception. Nothing was written.
var (
	// ErrInsufficient is returned when less is left than was to be taken.
	ErrInsufficient = errors.New(prefix + "insufficient")
	// ErrLimit is returned when the result would be more than the limit, or more than the column holds. In the second case
	// the server's own error, if it has one, is wrapped instead of a *RefusedError.
	ErrLimit = errors.New(prefix + "limit reached")
	// ErrMismatch is returned when the column has another value than the expected one.
	ErrMismatch = errors.New(prefix + "mismatch")
	// ErrConditionFailed is returned when the guard of the method holds, and the condition of the option Where does not.
	ErrConditionFailed = errors.New(prefix + "condition failed")
	// ErrUsed is returned when a row of a SingleUse has been used.
	ErrUsed = errors.New(prefix + "used already")
	// ErrExpired is returned when a row of a SingleUse has not been used in time.
	ErrExpired = errors.New(prefix + "expired")
)

// ErrRetriesExhausted is nogap.ErrRetriesExhausted. It is returned when every attempt lost against other
// transactions, or found SQLite busy. Nothing was written.
var ErrRetriesExhausted = nogap.ErrRetriesExhausted

// ErrNoUniqueIndex is returned when the table has no unique index or primary key that it needs: a Set one on exactly
// its columns, since the server would let the same member in twice, and a Counter with CreateMissing one on exactly
// its key. The error's text names the columns. Nothing was written.
var ErrNoUniqueIndex = errors.New(prefix + "no unique index")

// RefusedError says that the row is there, and that its guard refused the change. Nothing was written.
type RefusedError struct {
	Err    error // ErrInsufficient, ErrLimit, ErrMismatch, ErrConditionFailed, ErrUsed or ErrExpired
	Table  string
	Column string // that of the Counter or State; of a SingleUse that of UsedAt or ExpiresAt, empty with ErrConditionFailed
	Key    nogap.Key
	// Current is the value that is in the column, read after the refusal. It has the type of the Counter or State. For a
	// SingleUse it is nil, since a refusal hands nothing out.
	Current any
}

// Error returns a text such as "atomic: items.stock at [sku-1] is 2: insufficient".
func (e *RefusedError) Error() string {
	place := e.Table
	if e.Column != "" {
		place += "." + e.Column
	}
	if e.Current == nil {
		return fmt.Sprintf(prefix+"%s at %v: %s", place, []any(e.Key), bare(e.Err))
	}
	return fmt.Sprintf(prefix+"%s at %v is %v: %s", place, []any(e.Key), e.Current, bare(e.Err))
}

// Unwrap returns Err.
func (e *RefusedError) Unwrap() error { return e.Err }

// placedError is an error with the place that it is about.
type placedError struct {
	place string
	err   error
}

func (e *placedError) Error() string { return prefix + e.place + ": " + bare(e.err) }

func (e *placedError) Unwrap() error { return e.err }

// isPlaced reports whether an error says what it is about, if it is one.
func isPlaced(err error) bool {
	if err == nil || errors.As(err, new(*placedError)) || errors.As(err, new(*RefusedError)) {
		return true
	}
	obstacle := new(*table.Obstacle) // on the heap, so not before it is needed
	return errors.As(err, obstacle) && (*obstacle).Table != ""
}

// maxListed is how many keys an error names at most.
const maxListed = 5

// listed returns the keys as an error names them.
func listed(keys []Key) string {
	var texts []string
	for _, key := range keys[:min(len(keys), maxListed)] {
		texts = append(texts, fmt.Sprint([]any(key)))
	}
	if more := len(keys) - maxListed; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

const prefix = "atomic: "

// bare is the text of an error without the package's name.
func bare(err error) string { return strings.TrimPrefix(err.Error(), prefix) }

// fail gives an error the package's name, unless it has it already.
func fail(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf(prefix+"%w", err)
}

// classify names the outcome of the package's own errors for observers.
func classify(err error) nogap.Outcome {
	if errors.As(err, new(*RefusedError)) || errors.Is(err, ErrLimit) {
		return nogap.OutcomeRefused
	}
	return ""
}
