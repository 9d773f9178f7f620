//go:build unix

package distlock_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/integration/calm"
)

// newCalm starts a clock that beats with a server until the test ends.
func newCalm(t *testing.T, addr string) *calm.Clock {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	return calm.Start(t, func(ctx context.Context) { client.Ping(ctx) })
}
