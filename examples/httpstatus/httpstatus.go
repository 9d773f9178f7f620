// Package httpstatus has a function to copy: the HTTP status for every error of nogap. docs/errors.md says why.
package httpstatus

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

// Of returns the HTTP status for an error, and whether the client may send the request again as it is, which is then said with
// Retry-After. The order of the cases matters, since several errors may be wrapped in one.
func Of(err error) (status int, again bool) {
	switch {
	case err == nil:
		return http.StatusOK, false
	case is(err, nogap.ErrOutcomeUnknown, distlock.ErrLost):
		return http.StatusInternalServerError, false // done or not: don't invite anybody to try again
	case is(err, context.Canceled):
		return 499, false // the client has gone; nothing was written
	case is(err, context.DeadlineExceeded, nogap.ErrLockTimeout, nogap.ErrRetriesExhausted,
		atomic.ErrOverloaded, optimistic.ErrOverloaded, atomic.ErrClosed, optimistic.ErrClosed, distlock.ErrClosed),
		tooFewNodes(err), nogap.Retryable(err):
		return http.StatusServiceUnavailable, true
	case is(err, sql.ErrNoRows, distlock.ErrNotHeld):
		return http.StatusNotFound, false
	case is(err, atomic.ErrInsufficient, atomic.ErrLimit, atomic.ErrMismatch, atomic.ErrConditionFailed,
		optimistic.ErrVersionConflict, optimistic.ErrDuplicate, distlock.ErrFenced):
		return http.StatusConflict, false
	case is(err, pessimistic.ErrLocked, distlock.ErrNotAcquired, idempotency.ErrInProgress):
		return http.StatusConflict, true
	case is(err, atomic.ErrUsed, atomic.ErrExpired):
		return http.StatusGone, false
	case is(err, idempotency.ErrKeyReused, pessimistic.ErrTooManyRows):
		return http.StatusUnprocessableEntity, false
	}
	// Among others nogap.ErrNotUnique, atomic.ErrNoUniqueIndex and idempotency.ErrTypeChanged: the program or the schema is wrong.
	return http.StatusInternalServerError, false
}

func is(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// tooFewNodes reports whether a lock was not acquired because Redis did not answer, and not because somebody else has it.
func tooFewNodes(err error) bool {
	var failed *distlock.Error
	if !errors.As(err, &failed) || !errors.Is(err, distlock.ErrNotAcquired) {
		return false
	}
	silent := 0
	for _, n := range failed.Nodes {
		if !n.Held {
			silent++
		}
	}
	return silent > failed.Total/2
}

// Write answers a request with an error. The text of the error may hold keys of rows: it belongs in the log.
func Write(w http.ResponseWriter, err error) {
	status, again := Of(err)
	if again {
		w.Header().Set("Retry-After", "1")
	}
	text := http.StatusText(status)
	if errors.Is(err, nogap.ErrOutcomeUnknown) {
		text = "We don't know whether this was done. Please look before you try again."
	}
	http.Error(w, text, status)
}
