package observe_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/perdb"
)

type recorder struct {
	name  string
	log   *[]string
	start func()
	last  nogap.Result
}

type contextKey string

func (r *recorder) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	*r.log = append(*r.log, fmt.Sprintf("%s starts %s on %q", r.name, op.Name, op.Table))
	if r.start != nil {
		r.start()
	}
	return context.WithValue(ctx, contextKey(r.name), r.name), func(result nogap.Result) {
		*r.log = append(*r.log, r.name+" ends "+string(result.Outcome))
		r.last = result
	}
}

var what = nogap.Operation{Name: "test.Do", Table: "items"}

func TestDoIsNested(t *testing.T) {
	var log []string
	var l perdb.List
	first, second := &recorder{name: "first", log: &log}, &recorder{name: "second", log: &log}
	l.Add(first)
	l.Add(second)
	boom := errors.New("boom")
	err := observe.Do(t.Context(), &l, what, nil, func(ctx context.Context, op *observe.Op) error {
		log = append(log, "runs")
		require.Equal(t, "first", ctx.Value(contextKey("first")))
		require.Equal(t, "second", ctx.Value(contextKey("second")))
		op.Attempt(1)
		op.Attempt(2)
		op.Waited(time.Second)
		op.WaitedInServer(time.Minute)
		op.Batched(7)
		return boom
	})
	require.True(t, err == boom, "as it is")
	require.Equal(t, []string{
		`first starts test.Do on "items"`, `second starts test.Do on "items"`, "runs", "second ends error", "first ends error",
	}, log)
	want := nogap.Result{Outcome: nogap.OutcomeError, Attempts: 2, Batch: 7, Waited: time.Minute + time.Second, WaitedInServer: time.Minute, Err: boom}
	require.Equal(t, want, first.last)
	require.Equal(t, want, second.last)
}

func TestOutcome(t *testing.T) {
	errOwn, errStale := errors.New("own"), errors.New("stale")
	classify := func(err error) nogap.Outcome {
		switch {
		case errors.Is(err, errOwn):
			return nogap.OutcomeRefused
		case errors.Is(err, errStale):
			return nogap.OutcomeConflict
		}
		return ""
	}
	for _, tt := range []struct {
		name string
		err  error
		want nogap.Outcome
	}{
		{"nil", nil, nogap.OutcomeOK},
		{"unknown", fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errOwn), nogap.OutcomeUnknown},
		{"unknown, since several rows were written", fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, nogap.ErrNotUnique), nogap.OutcomeUnknown},
		{"exhausted", fmt.Errorf("%w: %w", nogap.ErrRetriesExhausted, errStale), nogap.OutcomeExhausted},
		{"the package's own", fmt.Errorf("x: %w", errOwn), nogap.OutcomeRefused},
		{"the package's own conflict", errStale, nogap.OutcomeConflict},
		{"no row", fmt.Errorf("x: %w", sql.ErrNoRows), nogap.OutcomeRefused},
		{"lock timeout", nogap.ErrLockTimeout, nogap.OutcomeRefused},
		{"context", context.Canceled, nogap.OutcomeError},
		{"other", errors.New("other"), nogap.OutcomeError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log []string
			var l perdb.List
			o := &recorder{log: &log}
			l.Add(o)
			err := observe.Do(t.Context(), &l, what, classify, func(context.Context, *observe.Op) error { return tt.err })
			require.True(t, err == tt.err)
			require.Equal(t, tt.want, o.last.Outcome)
			require.True(t, o.last.Err == tt.err)
		})
	}
}

func TestPanicEndsTheOperation(t *testing.T) {
	var log []string
	var l perdb.List
	first, second := &recorder{name: "first", log: &log}, &recorder{name: "second", log: &log}
	l.Add(first)
	l.Add(second)
	require.PanicsWithValue(t, "boom", func() {
		observe.Do(t.Context(), &l, what, nil, func(context.Context, *observe.Op) error { panic("boom") })
	})
	require.Equal(t, []string{"second ends error", "first ends error"}, log[2:])
	require.ErrorContains(t, first.last.Err, "panicked")
}

func TestGoexitEndsTheOperation(t *testing.T) {
	var log []string
	var l perdb.List
	o := &recorder{name: "o", log: &log}
	l.Add(o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		observe.Do(t.Context(), &l, what, nil, func(context.Context, *observe.Op) error {
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	require.Equal(t, []string{`o starts test.Do on "items"`, "o ends error"}, log)
	require.ErrorContains(t, o.last.Err, "Goexit")
}

// An observer that panics in Start, which it must not, still does not leave the others with an operation without an end.
func TestStartPanics(t *testing.T) {
	var log []string
	var l perdb.List
	l.Add(&recorder{name: "first", log: &log})
	l.Add(&recorder{name: "second", log: &log, start: func() { panic("boom") }})
	require.PanicsWithValue(t, "boom", func() {
		observe.Do(t.Context(), &l, what, nil, func(context.Context, *observe.Op) error {
			t.Error("it runs")
			return nil
		})
	})
	require.Equal(t, []string{`first starts test.Do on "items"`, `second starts test.Do on "items"`, "first ends error"}, log)
}

func TestNobodyObserves(t *testing.T) {
	var l perdb.List
	err := observe.Do(t.Context(), &l, what, nil, func(ctx context.Context, op *observe.Op) error {
		require.Nil(t, op)
		op.Attempt(1)
		op.Waited(1)
		op.Batched(1)
		return sql.ErrNoRows
	})
	require.True(t, err == sql.ErrNoRows)
}
