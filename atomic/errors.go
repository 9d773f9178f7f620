package atomic

import (
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/txn"
)

// What a guard refuses. Each comes inside a *RefusedError, which says what is there instead; nothing was written.
var (
	// ErrInsufficient: less is left than was to be taken.
	ErrInsufficient = errors.New("insufficient")
	// ErrLimit: the result would pass the limit, or the largest value that the column holds. In the latter case the
	// server's own error is wrapped instead of a *RefusedError, unless the server has none.
	ErrLimit = errors.New("limit reached")
	// ErrMismatch: another value than the expected one is there.
	ErrMismatch = errors.New("mismatch")
)

// ErrRetriesExhausted: every attempt lost against other transactions, or found SQLite busy. The last one's error is
// wrapped with it. Nothing was written.
var ErrRetriesExhausted = txn.ErrRetriesExhausted

// RefusedError says that the row is there and that its guard refused the change, which left everything as it was.
type RefusedError struct {
	Err    error // ErrInsufficient, ErrLimit or ErrMismatch
	Table  string
	Column string
	Key    Key
	// Current is the value that was in the way, read after the refusal: of the Counter's or State's own type.
	Current any
}

// Error returns a text such as "atomic: items.stock at [sku-1] is 2: insufficient".
func (e *RefusedError) Error() string {
	return fmt.Sprintf("atomic: %s.%s at %v is %v: %v", e.Table, e.Column, []any(e.Key), e.Current, e.Err)
}

// Unwrap returns Err.
func (e *RefusedError) Unwrap() error { return e.Err }
