package idempotency

import (
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Errors of this package. They are wrapped, so test for them with errors.Is.
var (
	// ErrInProgress is returned with NoWait when another call with the key is running. Nothing was written.
	ErrInProgress = errors.New("idempotency: a call with this key is in progress")
	// ErrKeyReused is returned when the key has the result of a call with another Fingerprint. Nothing was written.
	ErrKeyReused = errors.New("idempotency: the key was used for another request")
	// ErrTypeChanged is returned when the stored result has another type than that of the Store. The error names both.
	// Nothing was written, and the stored result stays as it is.
	ErrTypeChanged = errors.New("idempotency: the stored result has another type")
)

var (
	errNoCallback = errors.New("the callback is nil")
	errNested     = errors.New("Do is called in a callback of nogap that already has a transaction on this database, which a " +
		"second one may wait for for ever; use WithTx with the callback's tx")
	errNoResult = errors.New("the key is stored without a result: a callback has ended the transaction itself, or the row was made by " +
		"hand; look at what was written, and Forget the key to run it again")
	errVanished = errors.New("the key was not inserted though it is not there: a trigger or a policy of the server drops or hides it")
	errGone     = errors.New("the key's row is gone, though the transaction has inserted it: the callback or a trigger has deleted it")
)

// fail names the package in an error that does not come from the callback.
func fail(err error) error {
	if err == nil || errors.Is(err, ErrInProgress) || errors.Is(err, ErrKeyReused) || errors.Is(err, ErrTypeChanged) {
		return err
	}
	return fmt.Errorf("idempotency: %w", err)
}

func classify(err error) nogap.Outcome {
	if errors.Is(err, ErrInProgress) || errors.Is(err, ErrKeyReused) {
		return nogap.OutcomeRefused
	}
	return ""
}

// withSchema adds the table's definition to an error that says that the table is another one.
func (s *store) withSchema(server dialect.Server, err error) error {
	if m := sqlerr.Of(err); m.Has(sqlerr.NoColumn) || m.Has(sqlerr.NoArbiter) {
		return fmt.Errorf("%w; the table is to be made by\n%s", err, s.schema(server))
	}
	return err
}
