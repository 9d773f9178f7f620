package raceredis

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/racetest/oracle"
)

// table returns what stands in the keys that were named, as rows of their parts: the fields of a hash, the places in a list, the members of
// a set, the entries of a stream.
func (n *node) table(ctx context.Context) (oracle.Table, error) {
	t := oracle.Table{Name: n.name, Columns: []oracle.Column{{Name: "key"}, {Name: "part"}, {Name: "value"}, {Name: "ttl"}}}
	for _, name := range n.named() {
		parts, err := n.parts(ours(ctx), name)
		if err != nil {
			return t, fmt.Errorf("reading the key %q: %w", name, err)
		}
		if len(parts) == 0 {
			continue
		}
		ttl, err := n.client.PTTL(ours(ctx), name).Result()
		if err != nil {
			return t, fmt.Errorf("reading the key %q: %w", name, err)
		}
		var expires any
		if ttl >= 0 {
			expires = "expires"
		}
		for _, p := range parts {
			t.Rows = append(t.Rows, []any{name, p[0], p[1], expires})
		}
	}
	return t, nil
}

// parts returns the parts of a key and their values, in an order that depends on nothing else. A key that is not there has none.
func (n *node) parts(ctx context.Context, name string) (parts [][2]any, err error) {
	kind, err := n.client.Type(ctx, name).Result()
	if err != nil {
		return nil, err
	}
	add := func(part, value any) { parts = append(parts, [2]any{part, value}) }
	switch kind {
	case "none":
		return nil, nil
	case "string":
		v, err := n.client.Get(ctx, name).Result()
		add(nil, v)
		return parts, err
	case "list":
		all, err := n.client.LRange(ctx, name, 0, -1).Result()
		for i, v := range all {
			add(strconv.Itoa(i), v)
		}
		return parts, err
	case "set":
		all, err := n.client.SMembers(ctx, name).Result()
		slices.Sort(all)
		for _, v := range all {
			add(nil, v)
		}
		return parts, err
	case "hash":
		all, err := n.client.HGetAll(ctx, name).Result()
		var fields []string
		for f := range all {
			fields = append(fields, f)
		}
		slices.Sort(fields)
		for _, f := range fields {
			add(f, all[f])
		}
		return parts, err
	case "zset":
		all, err := n.client.ZRangeWithScores(ctx, name, 0, -1).Result()
		for _, z := range all {
			add(fmt.Sprint(z.Member), strconv.FormatFloat(z.Score, 'g', -1, 64))
		}
		return parts, err
	case "stream":
		var all []redis.XMessage
		all, err = n.client.XRange(ctx, name, "-", "+").Result()
		for _, m := range all {
			add(m.ID, fmt.Sprint(m.Values)) // maps are printed in order
		}
		return parts, err
	}
	v, err := n.client.Dump(ctx, name).Result()
	add(kind, v)
	return parts, err
}
