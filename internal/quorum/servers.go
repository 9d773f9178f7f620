package quorum

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// onlyServers returns the client of the server, for each node, where no client chooses the server by the key. One that is
// not known is nil.
func (ns *Nodes) onlyServers() []*redis.Client {
	servers := make([]*redis.Client, len(ns.nodes))
	for i, n := range ns.nodes {
		servers[i], _ = n.given.(*redis.Client)
	}
	return servers
}

// serversOf returns the client of the server that has a key, by key and node. One that is not known is nil. A Cluster that
// hangs is waited for as in any other round.
func (ns *Nodes) serversOf(keys []string) [][]*redis.Client {
	r := newRound(context.Background(), len(ns.nodes), ns.timeout)
	defer r.end()
	byNode := make([][]*redis.Client, len(ns.nodes))
	var wg sync.WaitGroup
	for i, n := range ns.nodes {
		wg.Go(func() { byNode[i] = n.serversOf(r, keys) })
	}
	wg.Wait()
	byKey := make([][]*redis.Client, len(keys))
	for k := range keys {
		byKey[k] = make([]*redis.Client, len(ns.nodes))
		for i, servers := range byNode {
			if servers != nil {
				byKey[k][i] = servers[k]
			}
		}
	}
	return byKey
}

// serversOf returns the clients of the servers that have the keys, or nil if none is known.
func (n *Node) serversOf(r *round, keys []string) []*redis.Client {
	servers := make([]*redis.Client, len(keys))
	var err error
	switch c := n.given.(type) {
	case *redis.Client:
		for k := range keys {
			servers[k] = c
		}
	case *redis.Ring: // which asks nobody
		for k, key := range keys {
			servers[k], _ = c.GetShardClientForKey(key)
		}
	case *redis.ClusterClient: // which asks its servers for their slots, if it has not yet
		servers, err = ask(r, n, func(ctx context.Context) ([]*redis.Client, error) {
			servers := make([]*redis.Client, len(keys)) // its own: it may go on alone
			for k, key := range keys {
				var err error
				if servers[k], err = c.MasterForKey(ctx, key); err != nil {
					return nil, err
				}
			}
			return servers, nil
		})
	}
	r.vote(n, err)
	return servers
}
