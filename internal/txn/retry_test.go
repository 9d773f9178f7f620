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
		{"exhausted", 3, []error{errLost}, 3, nogap.ErrRetriesExhausted},
		{"one attempt", 1, []error{errLost}, 1, nogap.ErrRetriesExhausted},
		{"negative is one attempt", -1, []error{errLost}, 1, nogap.ErrRetriesExhausted},
		{"the default", 0, []error{errLost}, txn.DefaultMaxAttempts, nogap.ErrRetriesExhausted},
		{"unknown", 5, []error{fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errLost)}, 1, nogap.ErrOutcomeUnknown},
		{"unknown after a failure", 5, []error{errLost, fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errLost)}, 2, nogap.ErrOutcomeUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				err := txn.Retry{Policy: txn.Policy{MaxAttempts: tt.max}}.Do(t.Context(), func(int) error {
					attempts++
					return tt.errs[min(attempts, len(tt.errs))-1]
				})
				require.Equal(t, tt.attempts, attempts)
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, tt.want == nogap.ErrRetriesExhausted, errors.Is(err, nogap.ErrRetriesExhausted))
				if tt.want == nogap.ErrRetriesExhausted {
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
		require.ErrorIs(t, txn.Retry{Policy: policy}.Do(t.Context(), func(int) error { return errLost }), nogap.ErrRetriesExhausted)
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
		err := txn.Retry{Policy: policy}.Do(ctx, func(int) error {
			attempts++
			return errLost
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errLost)
		require.NotErrorIs(t, err, nogap.ErrRetriesExhausted)
		require.Equal(t, 2, attempts)
		require.Equal(t, 90*time.Second, time.Since(start))
	})
}

func TestRetryContextEndsInAnAttempt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	err := txn.Retry{Policy: txn.Policy{}}.Do(ctx, func(int) error {
		attempts++
		cancel()
		return errLost
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errLost)
	require.Equal(t, 1, attempts)
}
