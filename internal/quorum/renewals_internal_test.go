package quorum

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/background"
)

// A Cluster does not say which of its servers has the key. The watchdog that has the lock extended does not wait for that.
func TestRenewWaitsForNoCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		cluster := redis.NewClusterClient(&redis.ClusterOptions{ClusterSlots: func(ctx context.Context) ([]redis.ClusterSlot, error) {
			<-hung
			return nil, context.DeadlineExceeded
		}})
		bg := background.New()
		ns, err := New([]redis.UniversalClient{cluster}, Config{TTL: time.Second, Timeout: 100 * time.Millisecond, Process: "p"}, bg)
		require.NoError(t, err)
		a := &Acquisition{nodes: ns, key: "a", value: "v", grants: make([]grant, 1)}
		start, told := time.Now(), make(chan *Tally, 1)
		a.Renew(t.Context(), start.Add(time.Second), func(_ time.Time, failed *Tally) func() {
			told <- failed
			return nil
		})
		require.Zero(t, time.Since(start))
		close(hung)
		require.NotNil(t, <-told)
		bg.Close()
		require.True(t, bg.Wait(time.Minute))
		require.NoError(t, cluster.Close())
	})
}
