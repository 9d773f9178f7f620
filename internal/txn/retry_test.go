package txn_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/txn"
)

var errLost = &pgError{"ERROR", "40001"}

func TestRetry(t *testing.T) {
	for _, tt := range []struct {
		name     string
		max      int
		errs     []error // of the attempts, the last one again and again
		attempts int
		want     error // nil, or in the chain
	}{
		{"success", 0, []error{nil}, 1, nil},
		{"success at last", 5, []error{errLost, errLost, nil}, 3, nil},
		{"success on the last attempt", 3, []error{errLost, errLost, nil}, 3, nil},
		{"not to be repeated", 5, []error{errCallback}, 1, errCallback},
		{"not to be repeated any more", 5, []error{errLost, errCallback}, 2, errCallback},
		{"exhausted", 3, []error{errLost}, 3, txn.ErrRetriesExhausted},
		{"one attempt", 1, []error{errLost}, 1, txn.ErrRetriesExhausted},
		{"negative is one attempt", -1, []error{errLost}, 1, txn.ErrRetriesExhausted},
		{"the default", 0, []error{errLost}, txn.DefaultMaxAttempts, txn.ErrRetriesExhausted},
		{"unknown", 5, []error{fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errLost)}, 1, nogap.ErrOutcomeUnknown},
		{"unknown after a failure", 5, []error{errLost, fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errLost)}, 2, nogap.ErrOutcomeUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				err := txn.Retry(t.Context(), txn.Policy{MaxAttempts: tt.max}, func() error {
					attempts++
					return tt.errs[min(attempts, len(tt.errs))-1]
				})
				require.Equal(t, tt.attempts, attempts)
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, tt.want == txn.ErrRetriesExhausted, errors.Is(err, txn.ErrRetriesExhausted))
				if tt.want == txn.ErrRetriesExhausted {
					require.ErrorIs(t, err, errLost, "the last error is inside")
				}
			})
		})
	}
}

func TestRetryWaitsByThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		policy := txn.Policy{MaxAttempts: 4, Backoff: func(attempt int) time.Duration {
			asked = append(asked, attempt)
			return time.Duration(attempt) * time.Second
		}}
		start := time.Now()
		require.ErrorIs(t, txn.Retry(t.Context(), policy, func() error { return errLost }), txn.ErrRetriesExhausted)
		require.Equal(t, []int{1, 2, 3}, asked)
		require.Equal(t, 6*time.Second, time.Since(start))
	})
}

func TestRetryContextEndsInBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		policy := txn.Policy{Backoff: func(int) time.Duration { return time.Minute }}
		attempts, start := 0, time.Now()
		err := txn.Retry(ctx, policy, func() error {
			attempts++
			return errLost
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errLost)
		require.NotErrorIs(t, err, txn.ErrRetriesExhausted)
		require.Equal(t, 2, attempts)
		require.Equal(t, 90*time.Second, time.Since(start))
	})
}

func TestRetryContextEndsInAnAttempt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	err := txn.Retry(ctx, txn.Policy{}, func() error {
		attempts++
		cancel()
		return errLost
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errLost)
	require.Equal(t, 1, attempts)
}
