package raceredis

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// patience returns how long commands wait until there is something for them, in the words of the one that waits longest; "" if none of
// them waits. See https://redis.io/docs/latest/commands/blpop/ and the like.
func patience(cmds []redis.Cmder) (time string) {
	for _, cmd := range cmds {
		args := cmd.Args()
		switch cmd.Name() {
		case "multi": // nothing waits in a transaction
			return ""
		case "blpop", "brpop", "brpoplpush", "blmove", "bzpopmin", "bzpopmax":
			time = longer(time, args[len(args)-1])
		case "blmpop", "bzmpop":
			time = longer(time, args[1])
		case "xread", "xreadgroup":
			for i, a := range args[:len(args)-1] {
				if word := strings.ToLower(argument(a)); word == "block" {
					time = longer(time, args[i+1])
				} else if word == "streams" {
					break
				}
			}
		}
	}
	return time
}

// longer returns the time of another command, unless the one before has no limit.
func longer(time string, other any) string {
	if isForever(time) {
		return time
	}
	return argument(other)
}

// isForever reports whether a time, in seconds or milliseconds, is no limit.
func isForever(time string) bool { return time != "" && strings.Trim(time, "0.") == "" }

// withoutWaiting sends commands in a transaction, in which they don't wait. To shorten their time would not do: Redis may look only every
// 100 ms whether it is over.
func (n *node) withoutWaiting(ctx context.Context, cmds []redis.Cmder) error {
	_, err := n.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, cmd := range cmds {
			if err := p.Process(ctx, cmd); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
