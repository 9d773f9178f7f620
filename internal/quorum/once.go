package quorum

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
)

// onceCmd is a command that go-redis sends a single time, so that a lost answer shows. By itself it repeats a command whose
// answer it has missed, and returns what the repetition found.
type onceCmd struct{ *redis.Cmd }

func (onceCmd) NoRetry() bool { return true }

// onceBoolCmd is another one.
type onceBoolCmd struct{ *redis.BoolCmd }

func (onceBoolCmd) NoRetry() bool { return true }

// evalOnce sends a script a single time. The words are those of EVALSHA, and the same for all nodes; source is the script, for a
// server that does not know it.
func (n *Node) evalOnce(ctx context.Context, words []any, source string) *redis.Cmd {
	cmd := n.sendOnce(ctx, slices.Clone(words)) // a hook of the client may change them
	if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		words = slices.Clone(words)
		words[0], words[1] = "eval", source
		cmd = n.sendOnce(ctx, words)
	}
	return cmd
}

func (n *Node) sendOnce(ctx context.Context, words []any) *redis.Cmd {
	cmd := redis.NewCmd(ctx, words...)
	cmd.SetFirstKeyPos(3)
	n.client.Process(ctx, onceCmd{cmd})
	return cmd
}
