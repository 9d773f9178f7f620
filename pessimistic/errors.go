package pessimistic

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/txn"
)

// Errors of this package. Test for them with errors.Is. The server's own error is wrapped with them, where there is one.
// After each of them nothing has been written.
var (
	// ErrLocked is returned when NoWait found the lock held, by another transaction or by another call in this process.
	// It comes inside a *LockError.
	ErrLocked = txn.ErrLocked
	// ErrLockTimeout is nogap.ErrLockTimeout. It is returned when the lock was not acquired within Timeout, or within the
	// limit that the server has for everybody: lock_timeout on PostgreSQL, innodb_lock_wait_timeout on MySQL and MariaDB.
	// It comes inside a *LockError, unless it was a statement of the callback that waited.
	ErrLockTimeout = nogap.ErrLockTimeout
	// ErrTooManyRows is returned when Rows.Where chooses more rows than Rows.Limit allows. None of them has been locked. It
	// comes inside a *LockError.
	ErrTooManyRows = errors.New("pessimistic: too many rows")
	// ErrRetriesExhausted is nogap.ErrRetriesExhausted. It is returned when every attempt lost against other
	// transactions. The error of the last one is wrapped with it.
	ErrRetriesExhausted = nogap.ErrRetriesExhausted
)

// LockError says which lock was not acquired. Nothing was written.
type LockError struct {
	Table string    // as it was given; empty for a named lock
	Key   nogap.Key // of the row; nil for a named lock, and while the rows of a condition are looked for
	Name  string    // of a named lock
	// Waited is how long the call has waited for its locks, in this process and in the server, in all attempts.
	Waited time.Duration
	// Err is ErrLocked or ErrLockTimeout, wrapped with the server's error if it was the server that said so, or ErrTooManyRows.
	Err error
}

// Error returns a text such as "pessimistic: items at [7]: locked".
func (e *LockError) Error() string {
	return prefix + place(e.Table, e.Key, e.Name) + ": " + strings.TrimPrefix(e.Err.Error(), prefix)
}

// Unwrap returns Err.
func (e *LockError) Unwrap() error { return e.Err }

const prefix = "pessimistic: "

// place names what a lock is on.
func place(table string, key nogap.Key, name string) string {
	switch {
	case name != "":
		return fmt.Sprintf("the name %q", name)
	case key == nil:
		return table
	}
	return fmt.Sprintf("%s at %v", table, []any(key))
}

var (
	errNoDB       = errors.New("db is nil")
	errNoCallback = errors.New("the callback is nil")
)

// fail names the package in an error that does not come from the callback.
func fail(err error) error {
	if err == nil || errors.As(err, new(*LockError)) {
		return err
	}
	return fmt.Errorf(prefix+"%w", err)
}

// classify names the outcome of the package's own errors for observers.
func classify(err error) nogap.Outcome {
	if errors.Is(err, ErrLocked) || errors.Is(err, ErrTooManyRows) {
		return nogap.OutcomeRefused
	}
	return ""
}
