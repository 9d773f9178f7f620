package quorum

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/release.lua
	releaseSource string
	//go:embed lua/extend.lua
	extendSource string
	//go:embed lua/delete.lua
	deleteSource string
	//go:embed lua/inspect.lua
	inspectSource string

	releaseScript = redis.NewScript(releaseSource)
	extendScript  = redis.NewScript(extendSource)
	deleteScript  = redis.NewScript(deleteSource)
	inspectScript = redis.NewScript(inspectSource)
)

// setWords returns the words of the command that sets the lock's key if nobody has it.
func setWords(op *operation) []any {
	return []any{"set", op.key, op.value, "px", op.ttl.Milliseconds(), "nx"}
}

// set sets the lock's key if nobody has it. go-redis by itself repeats a command whose answer it has missed, and one that
// the server could not run for the time being, so that it would tell neither: the first time it is not to.
func (n *Node) set(ctx context.Context, op *operation) (bool, error) {
	cmd := onceBoolCmd{redis.NewBoolCmd(ctx, slices.Clone(op.words)...)} // a hook of the client may change them
	first := n.client.Process(ctx, cmd)
	if answered(first) || ctx.Err() != nil {
		return cmd.Val(), first
	}
	ok, err := n.setAgain(ctx, op.key, op.value, op.ttl)
	if err != nil && ctx.Err() != nil {
		err = first // the client tells no more than that the time is over
	}
	return ok, err
}

// setAgain sets the key after a try of which the answer is missing. A refusal may be due to that try: then the key has
// our own value.
func (n *Node) setAgain(ctx context.Context, key, value string, ttl time.Duration) (bool, error) {
	ok, err := n.client.SetNX(ctx, key, value, ttl).Result()
	if ok || err != nil {
		return err == nil, err
	}
	holder, err := n.client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil // released in between
	}
	return err == nil && holder == value, err
}

// examine returns why a key can't be the lock of a holder, or nil.
func (n *Node) examine(ctx context.Context, key string) (reason, err error) {
	err = n.client.Get(ctx, key).Err()
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return err, nil
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, err
	}
	left, err := n.client.PTTL(ctx, key).Result()
	if left == -1 {
		reason = errEndless
	}
	return reason, err
}

// extend gives each of the keys a new TTL if it still has its value, with one script. The values are strings. With an error the
// server may have done so for some.
func (n *Node) extend(ctx context.Context, keys []string, values []any, ttl time.Duration) ([]extension, error) {
	args := append([]any{ttl.Milliseconds()}, values...)
	return extensions(extendScript.Run(ctx, n.client, keys, args...), len(keys))
}

// extensions returns what a node says to the script that extends n locks.
func extensions(cmd *redis.Cmd, n int) ([]extension, error) {
	reply, err := cmd.Slice()
	if err == nil && len(reply) != n {
		err = fmt.Errorf("unexpected reply %v", reply)
	}
	if err != nil {
		return nil, err
	}
	answers := make([]extension, n)
	for i, each := range reply {
		switch each := each.(type) {
		case int64:
			answers[i].yes = each > 0
		case string:
			answers[i].err = scriptError(each)
		default:
			answers[i].err = fmt.Errorf("unexpected reply %v", each)
		}
	}
	return answers, nil
}

// releaseStatus is the answer of a node to the release of a lock, as redsync knows it from its own script.
type releaseStatus int64

const (
	released       releaseStatus = 1
	heldByAnother  releaseStatus = 0
	alreadyExpired releaseStatus = -1
)

// releaseWords returns the words of the script that releases a lock. They are the same for all nodes.
func (n *Node) releaseWords(op *operation) []any {
	keys, args := n.releaseArgs(op)
	words := []any{"evalsha", releaseScript.Hash(), len(keys)}
	for _, key := range keys {
		words = append(words, key)
	}
	return append(words, args...)
}

func (n *Node) releaseArgs(op *operation) (keys []string, args []any) {
	return []string{op.key, n.keys.Queue(op.key), n.keys.woken(op.key)}, []any{op.value, n.timeout.Milliseconds() + 1}
}

// release deletes the key if it still has the value. next is the waiting process to wake, if there is one.
//
// If the answer is lost, release asks again. If the first try has taken a process off the queue, the second one finds
// that out. Otherwise, that the key is not ours may be the work of the first try, so it counts for nothing, and the
// error is that of the first try.
//
// While a Cluster moves the slot, it runs no script with several keys unless it finds all of them in one place. Then the
// key is deleted by itself.
func (n *Node) release(ctx context.Context, op *operation) (status releaseStatus, next string, err error) {
	status, next, err = releaseReply(n.evalOnce(ctx, op.words, releaseSource))
	if err == nil || ctx.Err() != nil {
		return status, next, err
	}
	first := err
	keys, args := n.releaseArgs(op)
	status, next, err = releaseReply(releaseScript.Run(ctx, n.client, keys, args...))
	if errorCode(err) == "TRYAGAIN" {
		status, next, err = n.releaseByParts(ctx, op.key, op.value)
	}
	if status <= 0 && !settled(first) {
		err = first
	}
	return status, next, err
}

// releaseByParts does with one key at a time what the script does with all of them. If an answer is lost, a process may
// be off the queue and not be woken.
func (n *Node) releaseByParts(ctx context.Context, key, value string) (status releaseStatus, next string, err error) {
	status, err = n.delete(ctx, key, value)
	if err == nil && status == released {
		next, _ = n.Next(ctx, key)
	}
	return status, next, err
}

// Next takes the process that has waited longest off the queue of the lock with the key. It returns "" if nobody waits.
func (n *Node) Next(ctx context.Context, key string) (process string, err error) {
	process, err = n.client.LPop(ctx, n.keys.Queue(key)).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return process, err
}

func releaseReply(cmd *redis.Cmd) (releaseStatus, string, error) {
	reply, err := cmd.Result()
	if err != nil {
		return 0, "", err
	}
	switch reply := reply.(type) {
	case int64:
		return releaseStatus(reply), "", nil
	case string:
		return released, reply, nil
	}
	return 0, "", fmt.Errorf("unexpected reply %v", reply)
}

// delete deletes the key if it has the value, and wakes nobody: it is for what an attempt may have left behind.
func (n *Node) delete(ctx context.Context, key, value string) (releaseStatus, error) {
	status, err := deleteScript.Run(ctx, n.client, []string{key}, value).Int64()
	return releaseStatus(status), err
}
