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
	"github.com/nogap-go/nogap/internal/sqlerr/sqlerrtest/sqlite"
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

// The funcs take the place of what the Retry does by itself.
func TestRetryFuncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var paused []int
		errStale, errGivenUp := errors.New("stale"), errors.New("given up")
		r := txn.Retry{
			Policy: txn.Policy{MaxAttempts: 3},
			Again:  func(err error) bool { return errors.Is(err, errStale) },
			Pause:  func(_ context.Context, n int) error { paused = append(paused, n); return nil },
			GiveUp: func(err error, attempts int) error { return fmt.Errorf("%w after %d: %w", errGivenUp, attempts, err) },
		}
		start := time.Now()
		var numbers []int
		err := r.Do(t.Context(), func(n int) error { numbers = append(numbers, n); return errStale })
		require.ErrorIs(t, err, nogap.ErrRetriesExhausted)
		require.ErrorIs(t, err, errGivenUp)
		require.ErrorIs(t, err, errStale)
		require.ErrorContains(t, err, "given up after 3: stale")
		require.Equal(t, []int{1, 2, 3}, numbers)
		require.Equal(t, []int{1, 2}, paused, "not after the last one")
		require.Equal(t, start, time.Now())

		err = r.Do(t.Context(), func(int) error { return errLost })
		require.True(t, err == errLost, "Again alone decides")
	})
}

// A Pause whose context has ended ends the repetition with both errors.
func TestRetryPauseEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	err := txn.Retry{Pause: func(ctx context.Context, _ int) error { cancel(); return ctx.Err() }}.Do(ctx, func(int) error {
		attempts++
		return errLost
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errLost)
	require.NotErrorIs(t, err, nogap.ErrRetriesExhausted)
	require.Equal(t, 1, attempts)
}

func TestLockTimeout(t *testing.T) {
	lockWait, deadlock := &MySQLError{Number: 1205}, &MySQLError{Number: 1213}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"MySQL", lockWait, true},
		{"PostgreSQL", &pgError{"ERROR", "55P03"}, true},
		{"wrapped", fmt.Errorf("items: %w", lockWait), true},
		{"already", fmt.Errorf("%w: %w", nogap.ErrLockTimeout, lockWait), true},
		{"deadlock", deadlock, false},
		{"SQLite is busy, which is tried again", &sqlite.Coded{C: 5}, false},
		{"other", errDriver, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := txn.LockTimeout(tt.err)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, errors.Is(err, nogap.ErrLockTimeout))
			require.True(t, txn.LockTimeout(err) == err, "wrapped once")
			if tt.want {
				require.False(t, nogap.Retryable(err))
			}
		})
	}
}
