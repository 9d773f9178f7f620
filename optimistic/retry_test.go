package optimistic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/optimistic"
)

// serverError is an error as PostgreSQL's drivers return it.
type serverError string

func (e serverError) Error() string    { return "SQLSTATE " + string(e) }
func (e serverError) SQLState() string { return string(e) }

var noWait = optimistic.Backoff(func(int) time.Duration { return 0 })

func TestRetryOnVersionConflictRetries(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error
		again bool
	}{
		"conflict":                {optimistic.ErrVersionConflict, true},
		"wrapped conflict":        {fmt.Errorf("order 7: %w", optimistic.ErrVersionConflict), true},
		"joined conflict":         {errors.Join(io.EOF, optimistic.ErrVersionConflict), true},
		"typed conflict":          {&optimistic.ConflictError{Table: "items"}, true},
		"serialization failure":   {serverError("40001"), true},
		"deadlock":                {fmt.Errorf("order 7: %w", serverError("40P01")), true},
		"something else":          {io.EOF, false},
		"constraint":              {serverError("23505"), false},
		"outcome unknown":         {fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, optimistic.ErrVersionConflict), false},
		"deadlock, then unknown":  {errors.Join(serverError("40P01"), nogap.ErrOutcomeUnknown), false},
		"somebody inside gave up": {fmt.Errorf("%w: %w", optimistic.ErrRetriesExhausted, optimistic.ErrVersionConflict), false},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := optimistic.RetryOnVersionConflict(t.Context(), func(context.Context) error {
				if calls++; calls < 3 {
					return tt.err
				}
				return nil
			}, noWait)
			if tt.again {
				require.NoError(t, err)
				require.Equal(t, 3, calls)
				return
			}
			require.Equal(t, tt.err, err)
			require.Equal(t, 1, calls)
		})
	}
}

func TestRetryOnVersionConflictGivesUp(t *testing.T) {
	for _, last := range []error{
		optimistic.ErrVersionConflict,
		fmt.Errorf("order 7: %w", &optimistic.ConflictError{Table: "items", Key: []any{42}, Version: 7, Attempts: 1}),
		serverError("40001"),
	} {
		calls := 0
		err := optimistic.RetryOnVersionConflict(t.Context(), func(context.Context) error { calls++; return last },
			optimistic.MaxAttempts(4), noWait)
		require.Equal(t, 4, calls)
		require.ErrorIs(t, err, optimistic.ErrVersionConflict)
		require.ErrorIs(t, err, optimistic.ErrRetriesExhausted)
		require.ErrorIs(t, err, last)
		require.ErrorContains(t, err, "4")
		var conflict *optimistic.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, 4, conflict.Attempts)
	}
}

func TestRetryOnVersionConflictWaitsLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, calls := time.Now(), 0
		err := optimistic.RetryOnVersionConflict(t.Context(), func(context.Context) error {
			calls++
			return optimistic.ErrVersionConflict
		})
		require.ErrorIs(t, err, optimistic.ErrRetriesExhausted)
		require.Equal(t, 50, calls)
		require.Greater(t, time.Since(start), time.Second)
		require.Less(t, time.Since(start), 13*time.Second)
	})
	var lost []int
	err := optimistic.RetryOnVersionConflict(t.Context(), func(context.Context) error { return optimistic.ErrVersionConflict },
		optimistic.MaxAttempts(4), optimistic.Backoff(func(n int) time.Duration { lost = append(lost, n); return 0 }))
	require.Error(t, err)
	require.Equal(t, []int{1, 2, 3}, lost)
}

func TestRetryOnVersionConflictContext(t *testing.T) {
	t.Run("ended before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := optimistic.RetryOnVersionConflict(ctx, func(context.Context) error { panic("called") })
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("ends in an attempt", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := optimistic.RetryOnVersionConflict(ctx, func(context.Context) error {
			calls++
			cancel()
			return optimistic.ErrVersionConflict
		}, noWait)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, optimistic.ErrVersionConflict)
		require.NotErrorIs(t, err, optimistic.ErrRetriesExhausted)
		require.Equal(t, 1, calls)
	})
	t.Run("ends while waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			err := optimistic.RetryOnVersionConflict(ctx, func(context.Context) error { return optimistic.ErrVersionConflict },
				optimistic.Backoff(func(int) time.Duration { return time.Hour }))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, optimistic.ErrVersionConflict)
			require.Equal(t, time.Minute, time.Since(start))
		})
	})
	t.Run("is handed on", func(t *testing.T) {
		type mark struct{}
		ctx := context.WithValue(t.Context(), mark{}, "here")
		require.NoError(t, optimistic.RetryOnVersionConflict(ctx, func(ctx context.Context) error {
			require.Equal(t, "here", ctx.Value(mark{}))
			return nil
		}))
	})
}

func TestRetryOnVersionConflictBadInput(t *testing.T) {
	run := func(context.Context) error { panic("called") }
	for want, opt := range map[string]optimistic.RetryOption{
		"MaxAttempts(0)":  optimistic.MaxAttempts(0),
		"MaxAttempts(-1)": optimistic.MaxAttempts(-1),
		"Backoff(nil)":    optimistic.Backoff(nil),
		"option 0 is nil": nil,
	} {
		require.ErrorContains(t, optimistic.RetryOnVersionConflict(t.Context(), run, opt), want)
	}
	require.ErrorContains(t, optimistic.RetryOnVersionConflict(t.Context(), nil), "nil")
}

func TestConflictErrorText(t *testing.T) {
	conflict := &optimistic.ConflictError{Table: "items", Key: []any{"a", 1}, Version: 7, Attempts: 3}
	require.EqualError(t, conflict, "optimistic: items at [a 1]: version conflict: the row no longer has version 7 (attempt 3)")
	require.EqualError(t, &optimistic.ConflictError{Attempts: 2}, "optimistic: version conflict (attempt 2)")
}
