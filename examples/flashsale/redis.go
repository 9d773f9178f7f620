package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// The client's own log lines would stand in the table. Its errors are returned, and shown.
func init() { logging.Disable() }

// redlockNodes is how many Redis nodes run in the process without -redis.
const redlockNodes = 5

// redisNodes are the addresses of Redis servers that know nothing of each other.
type redisNodes []string

// parseRedis understands host:port,host:port,…
func parseRedis(list string) (redisNodes, error) {
	nodes := strings.Split(list, ",")
	for i := range nodes {
		nodes[i] = strings.TrimSpace(nodes[i])
		if nodes[i] == "" {
			return nil, errors.New("an address is empty")
		}
		if strings.Contains(nodes[i], "/") {
			return nil, errors.New("want host:port, such as localhost:6379, not a URL")
		}
		if _, _, err := net.SplitHostPort(nodes[i]); err != nil {
			return nil, fmt.Errorf("want host:port, such as localhost:6379: %w", err)
		}
	}
	return nodes, nil
}

// connect returns an error if one of the nodes does not answer within three seconds.
func (nodes redisNodes) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, addr := range nodes {
		wg.Go(func() {
			client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
			defer client.Close()
			if err := client.Ping(ctx).Err(); err != nil {
				errs[i] = fmt.Errorf("no Redis answers at %s: %w", addr, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one line says enough
		}
	}
	return nil
}

// startRedis starts nodes in this process.
func startRedis() (nodes redisNodes, stop func(), err error) {
	var servers []*miniredis.Miniredis
	stop = func() {
		for _, s := range servers {
			s.Close()
		}
	}
	for range redlockNodes {
		s := miniredis.NewMiniRedis()
		if err := s.Start(); err != nil {
			stop()
			return nil, nil, fmt.Errorf("start a Redis in the process: %w", err)
		}
		servers = append(servers, s)
		nodes = append(nodes, s.Addr())
	}
	return nodes, stop, nil
}

// open returns a client of each node.
func (nodes redisNodes) open() []redis.UniversalClient {
	clients := make([]redis.UniversalClient, len(nodes))
	for i, addr := range nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: addr})
	}
	return clients
}
