package quorum_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/quorum"
)

// BenchmarkRenewals extends 2000 locks on five nodes that answer at once.
func BenchmarkRenewals(b *testing.B) {
	bg := background.New()
	defer bg.Close()
	var clients []redis.UniversalClient
	for range 5 {
		c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
		defer c.Close()
		c.AddHook(newServer())
		clients = append(clients, c)
	}
	ns, err := quorum.New(clients, quorum.Config{TTL: ttl, Timeout: timeout, Process: "p"}, bg)
	require.NoError(b, err)
	locks := make([]*quorum.Acquisition, 2000)
	for i := range locks {
		a, _, failed := ns.Acquire(context.Background(), fmt.Sprint(i))
		require.Nil(b, failed)
		locks[i] = a
	}
	for b.Loop() {
		var wg sync.WaitGroup
		wg.Add(len(locks))
		for _, a := range locks {
			a.Renew(context.Background(), time.Now(), func(time.Time, *quorum.Tally) func() {
				return wg.Done
			})
		}
		wg.Wait()
	}
}
