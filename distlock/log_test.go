package distlock_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
)

func TestLogEvents(t *testing.T) {
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		event distlock.Event
		want  string
	}{
		"acquired":   {distlock.Event{Kind: distlock.Acquired, Duration: time.Second, HandedOver: true}, `level=DEBUG msg="distlock: acquired" lock=a duration=1s handed_over=true`},
		"gave up":    {distlock.Event{Kind: distlock.Waited, Duration: time.Second, Err: boom}, `level=DEBUG msg="distlock: waited" lock=a duration=1s error=boom`},
		"extended":   {distlock.Event{Kind: distlock.Extended}, `level=DEBUG msg="distlock: extended" lock=a duration=0s`},
		"not so":     {distlock.Event{Kind: distlock.Extended, Err: boom}, `level=WARN msg="distlock: not extended" lock=a duration=0s error=boom`},
		"not queued": {distlock.Event{Kind: distlock.NotQueued, Err: boom}, `level=WARN msg="distlock: not queued" lock=a error=boom`},
		"released":   {distlock.Event{Kind: distlock.Released}, `level=DEBUG msg="distlock: released" lock=a duration=0s`},
		"was lost": {distlock.Event{Kind: distlock.Released, Err: fmt.Errorf("%w: a", distlock.ErrLost)},
			`level=DEBUG msg="distlock: released" lock=a duration=0s error="distlock: lease lost: a"`},
		"unconfirmed": {distlock.Event{Kind: distlock.Released, Err: boom}, `level=WARN msg="distlock: not released as it should" lock=a duration=0s error=boom`},
		"lost":        {distlock.Event{Kind: distlock.Lost, Duration: time.Minute, Late: time.Second, Err: boom}, `level=ERROR msg="distlock: lost" lock=a duration=1m0s late=1s error=boom`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
				Level: slog.LevelDebug,
				ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				},
			}))
			test.event.Name = "a"
			distlock.LogEvents(logger)(t.Context(), test.event)
			require.Equal(t, test.want, string(bytes.TrimSpace(out.Bytes())))
		})
	}
	require.PanicsWithValue(t, "distlock: LogEvents: logger is nil", func() { distlock.LogEvents(nil) })
}
