package raceredis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/racetest/effect"
)

// effects are what commands do to keys.
type effects struct {
	keys    []string
	writes  bool // what they do to the keys is not only to read them
	all     bool // they may name no key, and still do something to all
	watches bool // WATCH
	ends    bool // EXEC, UNWATCH or DISCARD
}

// none reports whether the commands have nothing to do with data.
func (e effects) none() bool { return len(e.keys) == 0 && !e.all && !e.ends }

// effects asks Redis what commands do, and to which keys.
func (n *node) effects(ctx context.Context, cmds []redis.Cmder) (e effects, err error) {
	infos, err := n.infos(ctx)
	if err != nil {
		return e, err
	}
	for _, cmd := range cmds {
		info := infos[cmd.Name()]
		if info == nil { // Redis will say so
			continue
		}
		keys, err := n.keysOf(ctx, cmd, info)
		if err != nil {
			return e, err
		}
		e.keys = append(e.keys, keys...)
		writes := slices.Contains(info.Flags, "write")
		switch cmd.Name() {
		case "watch":
			e.watches = true
		case "exec", "unwatch", "discard":
			e.ends = true
		default:
			e.writes = e.writes || writes || len(keys) > 0 && !info.ReadOnly
			e.all = e.all || len(keys) == 0 && (writes || info.ReadOnly || isScript(cmd))
		}
	}
	return e, nil
}

// isScript reports whether a command runs a script or a function, which may use keys that it is not given.
func isScript(cmd redis.Cmder) bool {
	switch strings.TrimSuffix(cmd.Name(), "_ro") {
	case "eval", "evalsha", "fcall":
		return true
	}
	return false
}

// infos returns what Redis says of its commands, by their names.
func (n *node) infos(ctx context.Context) (map[string]*redis.CommandInfo, error) {
	n.mu.Lock()
	infos := n.info
	n.mu.Unlock()
	if infos != nil {
		return infos, nil
	}
	infos, err := n.client.Command(ours(ctx)).Result()
	if err != nil {
		return nil, fmt.Errorf("raceredis: asking for what commands there are: %w", err)
	}
	n.mu.Lock()
	n.info = infos
	n.mu.Unlock()
	return infos, nil
}

// keysOf returns the keys of a command. Where they stand in it, only Redis knows for some.
func (n *node) keysOf(ctx context.Context, cmd redis.Cmder, info *redis.CommandInfo) (keys []string, err error) {
	args := cmd.Args()
	if slices.Contains(info.Flags, "movablekeys") {
		keys, err := n.client.CommandGetKeys(ours(ctx), args...).Result()
		if err != nil && strings.Contains(err.Error(), "no key") { // which is how Redis says so
			return nil, nil
		}
		return keys, err
	}
	if info.FirstKeyPos <= 0 {
		return nil, nil
	}
	last := int(info.LastKeyPos)
	if last < 0 {
		last += len(args)
	}
	for i := int(info.FirstKeyPos); i <= min(last, len(args)-1); i += max(1, int(info.StepCount)) {
		keys = append(keys, argument(args[i]))
	}
	return keys, nil
}

// access returns what commands do for the search. EXEC reads what was watched.
func (n *node) access(e effects) (a effect.Access) {
	if e.all {
		return effect.Anything()
	}
	names := make([]string, len(e.keys))
	for i, k := range e.keys {
		names[i] = n.name + " " + k
	}
	a.Reads = effect.Of(names...)
	if e.writes {
		a.Writes = effect.Of(names...)
	}
	if e.ends {
		n.mu.Lock()
		defer n.mu.Unlock()
		for name, k := range n.keys {
			if k.watched {
				a.Reads = a.Reads.Union(effect.Of(n.name + " " + name))
			}
		}
	}
	return a
}

// watch notes what is watched, by any client: which one it is makes no difference to the ends of the schedules, only to how many of them
// are played.
func (n *node) watch(e effects) {
	if !e.watches {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range e.keys {
		if k := n.keys[name]; k != nil {
			k.watched = true
		}
	}
}
