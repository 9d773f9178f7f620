package distlock_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/fakedb"
)

// fakeRedis is a Redis server in the place of a client's connections: a go-redis hook that answers the commands of a
// lock that nobody waits for. How distlock works with real servers, the tests of the integration module show.
type fakeRedis struct {
	id   string
	info string // more of what it answers to INFO

	mu   sync.Mutex
	keys map[string]string
}

// newRedis returns a client of a new server. It heeds the deadlines of contexts, so that the Locker keeps its hook.
func newRedis(addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	client.AddHook(&fakeRedis{id: addr, keys: make(map[string]string)})
	return client
}

func (f *fakeRedis) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *fakeRedis) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			f.run(cmd)
		}
		return nil
	}
}

func (f *fakeRedis) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error { return f.run(cmd) }
}

func (f *fakeRedis) run(cmd redis.Cmder) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	args := cmd.Args()
	switch cmd := cmd.(type) {
	case interface{ SetVal(bool) }: // SET key value EX seconds NX
		key, value := args[1].(string), args[2].(string)
		if _, held := f.keys[key]; !held {
			f.keys[key] = value
			cmd.SetVal(true)
		}
	case *redis.StringCmd:
		if cmd.Name() == "info" {
			cmd.SetVal("run_id:" + f.id + "\r\n" + f.info)
			return nil
		}
		value, held := f.keys[args[1].(string)] // GET key
		if !held {
			cmd.SetErr(redis.Nil)
		}
		cmd.SetVal(value)
	case interface{ SetVal(any) }: // EVAL, EVALSHA
		reply := f.script(args[2].(int), args[3:])
		if cmd.SetVal(reply); reply == nil {
			return redis.Nil
		}
	case *redis.ClusterSlotsCmd:
	case *redis.IntCmd: // PUBLISH
	case *redis.StringSliceCmd: // LRANGE
	case *redis.StatusCmd: // FLUSHALL
		clear(f.keys)
		cmd.SetVal("OK")
	default:
		cmd.SetErr(fmt.Errorf("ERR unknown command %v", args))
	}
	return cmd.Err()
}

// script runs one of the scripts of distlock. One without arguments reads the lock, or looks at the server. The one that has a
// TTL before the values extends locks. The others delete a lock that has the holder's value.
func (f *fakeRedis) script(keys int, args []any) any {
	lock, values := args[0].(string), args[keys:]
	if len(values) == 0 {
		if value, held := f.keys[lock]; held {
			return []any{value, int64(8000)}
		}
		if strings.HasSuffix(lock, ":queue") {
			return []any{} // nothing is refused
		}
		return nil
	}
	if _, extend := values[0].(int64); extend {
		answers := make([]any, keys)
		for i, value := range values[1:] {
			answers[i] = int64(0)
			if f.keys[args[i].(string)] == value {
				answers[i] = int64(1)
			}
		}
		return answers
	}
	switch value, held := f.keys[lock]; {
	case !held:
		return int64(-1)
	case value != values[0]:
		return int64(0)
	}
	delete(f.keys, lock)
	return int64(1)
}

// newDB returns a PostgreSQL that keeps the tokens of a fence, and prints what else is written.
func newDB() *sql.DB {
	tokens := make(map[any]int64)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row("PostgreSQL 18.0"), nil
		case strings.HasPrefix(c.Query, `INSERT INTO "lock_fences"`):
			tokens[c.Arg(0)]++
			return fakedb.Row(tokens[c.Arg(0)]), nil
		case strings.HasPrefix(c.Query, `UPDATE "lock_fences"`):
			if tokens[c.Arg(0)] != c.Arg(1) {
				return fakedb.Reply{}, nil
			}
		case c.Kind == fakedb.Exec:
			fmt.Println(c.Query)
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}
