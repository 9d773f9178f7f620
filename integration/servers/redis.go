//go:build unix

package servers

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

var sharedRedis struct {
	sync.Mutex
	addrs []string
}

// Redis returns the addresses of n independent Redis servers that the tests of this binary share, so use keys of your
// own. They must not be paused or stopped: StartRedis gives a test servers that may.
func Redis(tb testing.TB, n int) []string {
	tb.Helper()
	if addrs := strings.FieldsFunc(os.Getenv("NOGAP_REDIS_ADDRS"), func(r rune) bool { return r == ',' || r == ' ' }); len(addrs) > 0 {
		if len(addrs) < n {
			tb.Fatalf("servers: NOGAP_REDIS_ADDRS names %d servers, this test needs %d", len(addrs), n)
		}
		noteYours(redisPlan, &Server{Addr: addrs[0]})
		return addrs[:n]
	}
	sharedRedis.Lock()
	defer sharedRedis.Unlock()
	for len(sharedRedis.addrs) < n {
		s, err := start(redisPlan)
		if err != nil {
			tb.Fatal(err)
		}
		sharedRedis.addrs = append(sharedRedis.addrs, s.Addr)
	}
	return sharedRedis.addrs[:n:n]
}

// StartRedis starts n independent Redis servers for this test alone. They persist nothing.
func StartRedis(tb testing.TB, n int) []*Server {
	tb.Helper()
	servers := make([]*Server, n)
	for i := range servers {
		servers[i] = own(tb, func() (*Server, error) { return start(redisPlan) })
	}
	return servers
}

var redisPlan = redisWith("redis", 1, redisVersion, func(*Server) []string { return nil })

// redisWith returns the plan of a Redis server with more arguments.
func redisWith(
	name string, ports int, ready func(context.Context, *Server) (string, error), arguments func(s *Server) []string,
) plan {
	return plan{
		name:     name,
		accounts: []string{"redis", "nobody"},
		ports:    ports,
		signal:   syscall.SIGKILL,
		prepare: func(s *Server) ([]string, error) {
			program, err := redisProgram()
			if err != nil {
				return nil, err
			}
			return append([]string{program, "--bind", "127.0.0.1", "--port", strconv.Itoa(s.ports[0].number), "--dir", s.dir,
				"--save", "", "--appendonly", "no"}, arguments(s)...), nil
		},
		ready: ready,
	}
}

func redisProgram() (string, error) {
	root, err := newest("valkey")
	if err != nil {
		return "", err
	}
	if root != "" {
		return filepath.Join(root, "usr/bin/valkey-server"), nil
	}
	return find("redis-server", "redis-server")
}

func redisVersion(ctx context.Context, s *Server) (string, error) {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return "", err
	}
	info := client.InfoMap(ctx, "server").Item
	if version := info("Server", "valkey_version"); version != "" {
		return "Valkey " + version, nil
	}
	return "Redis " + info("Server", "redis_version"), nil
}

// redisField returns a field of an answer to INFO or CLUSTER INFO.
func redisField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
