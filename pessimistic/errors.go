package pessimistic

import (
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/txn"
)

// Errors of this package; test for them with errors.Is. The server's own error, where there is one, is wrapped with
// them. After each of them nothing has been written.
var (
	// ErrLocked says that NoWait found the lock held, by another transaction or by another call in this process.
	ErrLocked = errors.New("pessimistic: locked")
	// ErrLockTimeout says that the lock was not to be had within Timeout, or within the lock_timeout that a PostgreSQL
	// server has set for everybody.
	ErrLockTimeout = errors.New("pessimistic: lock timeout")
	// ErrRetriesExhausted says that every attempt lost against other transactions; the last one's error is wrapped with
	// it.
	ErrRetriesExhausted = txn.ErrRetriesExhausted
)

// final reports whether err is never a reason to run the callback again, although it may wrap a server's error that
// otherwise would be: it has been decided on already, here or by a call in the callback.
func final(err error) bool {
	return errors.Is(err, ErrLocked) || errors.Is(err, ErrLockTimeout) || errors.Is(err, ErrRetriesExhausted)
}

var (
	errNoDB       = errors.New("db is nil")
	errNoTx       = errors.New("tx is nil")
	errNoCallback = errors.New("the callback is nil")
)

// failed names the package in an error that does not come from the callback.
func failed(err error) error { return fmt.Errorf("pessimistic: %w", err) }
