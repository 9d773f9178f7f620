package quorum

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// once is a client that sends a script a single time, so that a lost answer shows. go-redis by itself repeats a command
// whose answer it has missed, and returns what the repetition found.
type once struct{ redis.UniversalClient }

// onceCmd is a command that go-redis does not repeat.
type onceCmd struct{ *redis.Cmd }

func (onceCmd) NoRetry() bool { return true }

// onceBoolCmd is another one.
type onceBoolCmd struct{ *redis.BoolCmd }

func (onceBoolCmd) NoRetry() bool { return true }

func (c once) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return c.send(ctx, "eval", script, keys, args)
}

func (c once) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	return c.send(ctx, "evalsha", sha1, keys, args)
}

func (c once) send(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	all := append(make([]any, 0, 3+len(keys)+len(args)), name, script, len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	c.Process(ctx, onceCmd{cmd})
	return cmd
}
