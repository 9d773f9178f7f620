//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// slots is how many hash slots a Redis Cluster has.
const slots = 16384

// StartRedisCluster starts a Redis Cluster of n masters for this test alone. The slots are spread evenly, in order. It
// has no replicas.
func StartRedisCluster(tb testing.TB, n int) []*Server {
	tb.Helper()
	nodes := make([]*Server, n)
	for i := range nodes {
		nodes[i] = own(tb, func() (*Server, error) { return start(redisClusterPlan) })
	}
	if err := formCluster(tb.Context(), nodes); err != nil {
		tb.Fatal(err)
	}
	return nodes
}

var redisClusterPlan = redisWith("redis-cluster", 2, redisVersion, func(s *Server) []string {
	return []string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(s.ports[1].number),
		"--cluster-node-timeout", "2000"}
})

// formCluster makes one cluster of the nodes, and returns when each of them says that it is in order.
func formCluster(ctx context.Context, nodes []*Server) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i, node := range nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr})
		defer client.Close()
		err := client.ClusterAddSlotsRange(ctx, i*slots/len(nodes), (i+1)*slots/len(nodes)-1).Err()
		if err == nil {
			// Nodes that meet must not claim the same epoch: to settle that takes them seconds.
			err = client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err()
		}
		if err == nil && i > 0 {
			err = client.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", nodes[0].ports[0].number, nodes[0].ports[1].number).Err()
		}
		if err != nil {
			return fmt.Errorf("servers: cluster: %w", err)
		}
	}
	for _, node := range nodes {
		if err := awaitCluster(ctx, node, len(nodes)); err != nil {
			return err
		}
	}
	return nil
}

func awaitCluster(ctx context.Context, node *Server, size int) error {
	client := redis.NewClient(&redis.Options{Addr: node.Addr})
	defer client.Close()
	for {
		//lint:ignore SA1019 Redis 6 has no CLUSTER SHARDS
		shards, err := client.ClusterSlots(ctx).Result()
		info, _ := client.ClusterInfo(ctx).Result()
		if err == nil && len(shards) == size && redisField(info, "cluster_state") == "ok" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("servers: cluster: %d of %d nodes are known: %s", len(shards), size, info), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// StartRedisReplica starts a replica of a Redis server for this test alone, and returns when it has what its master has.
func StartRedisReplica(tb testing.TB, master *Server) *Server {
	tb.Helper()
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	ready := func(ctx context.Context, s *Server) (version string, err error) {
		client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
		defer client.Close()
		info, err := client.Info(ctx, "replication").Result()
		if err != nil {
			return "", err
		}
		if redisField(info, "master_link_status") != "up" {
			return "", errors.New("servers: the replica has no link to its master yet")
		}
		return redisVersion(ctx, s)
	}
	return own(tb, func() (*Server, error) {
		return start(redisWith("redis-replica", 1, ready, func(*Server) []string {
			return []string{"--replicaof", host, port, "--repl-diskless-sync-delay", "0"}
		}))
	})
}

// SentinelMaster is the name of the master that the sentinel of StartRedisSentinel watches.
const SentinelMaster = "nogap"

// StartRedisSentinel starts a sentinel for this test alone, which watches a Redis server and its replicas. It alone
// decides on a failover, three seconds after the master has gone: a busy machine keeps a master from answering for less than that.
func StartRedisSentinel(tb testing.TB, master *Server) *Server {
	tb.Helper()
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	ready := func(ctx context.Context, s *Server) (string, error) {
		sentinel := redis.NewSentinelClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
		defer sentinel.Close()
		replicas, err := sentinel.Replicas(ctx, SentinelMaster).Result()
		if err == nil && len(replicas) == 0 {
			err = errors.New("servers: the sentinel knows no replica yet")
		}
		return "Redis Sentinel", err
	}
	plan := plan{
		name: "redis-sentinel", accounts: []string{"redis", "nobody"}, ports: 1, signal: syscall.SIGKILL, ready: ready,
		prepare: func(s *Server) ([]string, error) {
			program, err := redisProgram()
			if err != nil {
				return nil, err
			}
			config := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor %s %s %s 1\n"+
				"sentinel down-after-milliseconds %[3]s 3000\nsentinel failover-timeout %[3]s 3000\n",
				s.ports[0].number, s.dir, SentinelMaster, host, port)
			return []string{program, filepath.Join(s.dir, "sentinel.conf"), "--sentinel"}, writeOwned(s, "sentinel.conf", config)
		},
	}
	return own(tb, func() (*Server, error) { return start(plan) })
}

// writeOwned writes a file that the server may change.
func writeOwned(s *Server, name, content string) error {
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil || s.as == nil {
		return err
	}
	return os.Chown(file, int(s.as.Uid), int(s.as.Gid))
}
