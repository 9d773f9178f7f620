package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// redlockNodes is how many Redis nodes run in the process without -redis.
const redlockNodes = 5

// redisNodes are the addresses of Redis servers that know nothing of each other.
type redisNodes []string

// parseRedis understands host:port,host:port,…
func parseRedis(list string) (redisNodes, error) {
	nodes := strings.Split(list, ",")
	for i := range nodes {
		if nodes[i] = strings.TrimSpace(nodes[i]); nodes[i] == "" {
			return nil, errors.New("an address is empty")
		}
	}
	return nodes, nil
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
