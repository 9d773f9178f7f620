package background_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/background"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := background.New()
		defer g.Close()
		require.True(t, g.Wait(time.Hour), "nothing runs")
		start := time.Now()
		for i := range 3 {
			g.Go(func() { time.Sleep(time.Duration(i) * time.Second) })
		}
		require.False(t, g.Wait(time.Millisecond))
		require.Equal(t, time.Millisecond, time.Since(start))
		require.True(t, g.Wait(time.Hour))
		require.Equal(t, 2*time.Second, time.Since(start))
		require.True(t, g.Wait(0))
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := background.New()
		g.Go(func() { <-g.Closing().Done() })
		synctest.Wait()
		require.False(t, g.Closed())
		g.Close()
		g.Close()
		require.True(t, g.Closed())
		require.True(t, g.Wait(time.Hour))
		g.Go(func() { time.Sleep(time.Second) })
		require.True(t, g.Wait(time.Hour), "clean-up still runs")
	})
}
