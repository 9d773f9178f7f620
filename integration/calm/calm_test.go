package calm_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/calm"
)

func TestClock(t *testing.T) {
	for answer, want := range map[time.Duration]time.Duration{
		0:                time.Minute,
		time.Millisecond: time.Minute,
		3 * time.Second:  160 * time.Millisecond, // 20 beats of at most 8 ms
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			clock := calm.Start(t, func(context.Context) {
				select {
				case <-time.After(answer):
				case <-ctx.Done():
				}
			})
			time.Sleep(time.Minute)
			cancel()
			require.InDelta(t, want, clock.Now(), float64(8*time.Millisecond), answer)
		})
	}
}
