package quorum

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Publish sends a message to a process, and returns how many have heard it: one, or none if the process is gone.
//
// In a Cluster the message goes to the shard that has the channel, and to no other node. If nobody has heard it there,
// it is published to all of them: the process may have subscribed when the server knew no sharded channels.
func (n *Node) Publish(ctx context.Context, process, message string) (heard int64, err error) {
	if n.clustered() {
		heard, err = n.publish(ctx, "spublish", process, message)
		if heard > 0 || !answered(err) {
			return heard, err
		}
	}
	return n.publish(ctx, "publish", process, message)
}

// publish sends the command to the server to which Subscribe goes. go-redis takes PUBLISH for a command without a key: a
// Ring would send it to any of its shards, and a Cluster to a node that counts no subscriber.
func (n *Node) publish(ctx context.Context, command, process, message string) (int64, error) {
	cmd := redis.NewIntCmd(ctx, command, n.keys.Channel(process), message)
	cmd.SetFirstKeyPos(1)
	err := n.client.Process(ctx, cmd)
	return cmd.Val(), err
}

// Subscribe opens a subscription of the process to its channel, which the caller must close. The node has not confirmed
// it yet. sharded asks for a sharded channel; see Sharded.
func (n *Node) Subscribe(ctx context.Context, process string, sharded bool) (sub *redis.PubSub, err error) {
	defer func() { // a redis.Ring without a live shard panics
		if p := recover(); p != nil {
			err = fmt.Errorf("subscribe: %v", p)
		}
	}()
	if sharded {
		sub = n.given.SSubscribe(ctx, n.keys.Channel(process))
	} else {
		sub = n.given.Subscribe(ctx, n.keys.Channel(process))
	}
	if sub == nil {
		return nil, errors.New("subscribe: the client returned nothing")
	}
	return sub, nil
}

// Sharded reports whether to subscribe to a sharded channel, when the last attempt to do so has ended with err: on a
// Cluster, unless its server does not know them, or the user has no right to.
func (n *Node) Sharded(err error) bool {
	code := errorCode(err)
	return n.clustered() && code != "ERR" && code != "NOPERM"
}

// Moved has the client look again for the server that has the channel.
func (n *Node) Moved(ctx context.Context) {
	if c, ok := n.given.(*redis.ClusterClient); ok {
		c.ReloadState(ctx)
	}
}

func (n *Node) clustered() bool {
	_, ok := n.given.(*redis.ClusterClient)
	return ok
}
