package nogap_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// lines returns a logger that writes all levels, without what differs from run to run.
func lines(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "took" {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestLogObserver(t *testing.T) {
	items := nogap.Operation{Name: "atomic.Decrement", Table: "items"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		ctx       context.Context
		operation nogap.Operation
		result    nogap.Result
		want      string
	}{
		"success":            {result: nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 1}},
		"refusal":            {result: nogap.Result{Outcome: nogap.OutcomeRefused, Attempts: 1, Err: boom}},
		"refused unsent":     {result: nogap.Result{Outcome: nogap.OutcomeRefused, Err: boom}},
		"the context ended":  {ctx: ended, result: nogap.Result{Outcome: nogap.OutcomeError, Attempts: 1, Err: context.Canceled}},
		"retried":            {result: nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 3, Waited: time.Second}, want: `level=DEBUG msg="nogap: had to be run again" operation=atomic.Decrement table=items attempts=3 waited=1s`},
		"in the server":      {result: nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 2, Waited: time.Minute, WaitedInServer: time.Second}, want: `level=DEBUG msg="nogap: had to be run again" operation=atomic.Decrement table=items attempts=2 waited=1m0s waited_in_server=1s`},
		"retried, and ended": {ctx: ended, result: nogap.Result{Outcome: nogap.OutcomeError, Attempts: 2, Err: boom}, want: `level=DEBUG msg="nogap: had to be run again" operation=atomic.Decrement table=items attempts=2 error=boom`},
		"conflict":           {result: nogap.Result{Outcome: nogap.OutcomeConflict, Attempts: 1, Err: boom}, want: `level=DEBUG msg="nogap: conflict" operation=atomic.Decrement table=items attempts=1 error=boom`},
		"exhausted":          {result: nogap.Result{Outcome: nogap.OutcomeExhausted, Attempts: 50, Err: boom}, want: `level=WARN msg="nogap: gave up after all attempts" operation=atomic.Decrement table=items attempts=50 error=boom`},
		"error":              {operation: nogap.Operation{Name: "transaction.Run"}, result: nogap.Result{Outcome: nogap.OutcomeError, Attempts: 1, Err: boom}, want: `level=WARN msg="nogap: failed" operation=transaction.Run attempts=1 error=boom`},
		"callback":           {operation: nogap.Operation{Name: "transaction.Run"}, result: nogap.Result{Outcome: nogap.OutcomeError, Attempts: 1, Err: boom, Callback: true}, want: `level=DEBUG msg="nogap: the callback returned an error" operation=transaction.Run attempts=1 error=boom`},
		"unknown": {ctx: ended, result: nogap.Result{Outcome: nogap.OutcomeUnknown, Attempts: 1, Batch: 7, Err: nogap.ErrOutcomeUnknown},
			want: `level=ERROR msg="nogap: outcome unknown" operation=atomic.Decrement table=items attempts=1 batch=7 error="` + nogap.ErrOutcomeUnknown.Error() + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			ctx, operation := test.ctx, test.operation
			if ctx == nil {
				ctx = t.Context()
			}
			if operation.Name == "" {
				operation = items
			}
			got, end := nogap.LogObserver(lines(&out)).Start(ctx, operation)
			require.Equal(t, ctx, got)
			end(test.result)
			require.Equal(t, test.want, string(bytes.TrimSpace(out.Bytes())))
		})
	}
}

// A level that is switched off costs no line, and the handler gets the operation's context.
func TestLogObserverOfALevel(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	_, end := nogap.LogObserver(logger).Start(t.Context(), nogap.Operation{Name: "atomic.Add"})
	end(nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 2})
	require.Empty(t, out.String())
	require.PanicsWithValue(t, "nogap: LogObserver: logger is nil", func() { nogap.LogObserver(nil) })
}
