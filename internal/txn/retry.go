package txn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// ErrRetriesExhausted says that every attempt lost against other transactions. It is wrapped together with the last
// attempt's error. Nothing was written.
var ErrRetriesExhausted = errors.New("nogap: retries exhausted")

// The defaults of Policy. Fifty attempts under this backoff are about ten seconds: whoever wants to give up sooner has a
// context for it.
const DefaultMaxAttempts = 50

// DefaultBackoff waits up to 2 ms after the first failed attempt and up to 250 ms after the eighth.
var DefaultBackoff = backoff.FullJitter(2*time.Millisecond, 250*time.Millisecond)

// Policy says how often an attempt is repeated. The zero Policy has the defaults.
type Policy struct {
	MaxAttempts int
	Backoff     backoff.Policy
}

// Retryable reports whether a transaction that failed with err may succeed if it is run again from its start. It never
// may if its outcome is unknown.
func Retryable(err error) bool {
	return sqlerr.Of(err).Has(sqlerr.Retry) && !errors.Is(err, nogap.ErrOutcomeUnknown)
}

// Retry calls attempt until it succeeds, fails with an error that is not Retryable, or is out of attempts, which is
// ErrRetriesExhausted. It waits in between, and returns as soon as ctx ends. Each attempt must be a whole transaction.
func Retry(ctx context.Context, p Policy, attempt func() error) error {
	if p.MaxAttempts == 0 {
		p.MaxAttempts = DefaultMaxAttempts
	}
	if p.Backoff == nil {
		p.Backoff = DefaultBackoff
	}
	for n := 1; ; n++ {
		err := attempt()
		if err == nil || !Retryable(err) {
			return err
		}
		if n >= p.MaxAttempts {
			return fmt.Errorf("%w after %d attempts: %w", ErrRetriesExhausted, n, err)
		}
		if p.Backoff.Wait(ctx, n) != nil {
			return JoinContext(ctx, err)
		}
	}
}
