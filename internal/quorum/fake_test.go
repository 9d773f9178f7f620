package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// server is a Redis server in the place of a client's connections: a go-redis hook that answers the commands of locks.
type server struct {
	mu      sync.Mutex
	keys    map[string]string
	queue   []string              // the processes that wait for any lock
	info    string                // its answer to INFO
	looks   int                   // how often it was looked at
	refused []any                 // what it refuses to scripts
	lose    int                   // how many answers to lose
	before  func(cmd redis.Cmder) // runs before each command
	sent    []string              // names of commands

	exchanges [][]redis.Cmder // commands and pipelines, without the looks at the server
	forgot    bool            // the scripts

	// What it does with scripts of several keys, which extend leases.
	several error             // refuses them
	failing map[string]string // by key: what the script says that GET fails with
}

func newServer() *server {
	return &server{keys: make(map[string]string), info: "redis_mode:standalone\r\n"}
}

// client returns a client that keeps to the deadline of a context, and keeps the hook.
func (s *server) client(t *testing.T) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	c.AddHook(s)
	return c
}

func (s *server) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *server) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		if s.before != nil {
			s.before(cmds[0])
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if cmds[0].Name() == "info" { // which begins the look at the server
			s.looks++
		} else {
			s.exchanges = append(s.exchanges, cmds)
		}
		for _, cmd := range cmds {
			s.run(cmd)
			if s.lose > 0 {
				cmd.SetErr(errLostAnswer)
			}
		}
		s.lose = max(0, s.lose-1)
		return cmds[0].Err()
	}
}

var errLostAnswer = errors.New("EOF")

func (s *server) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		if s.before != nil {
			s.before(cmd)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = append(s.sent, cmd.Name())
		s.exchanges = append(s.exchanges, []redis.Cmder{cmd})
		s.run(cmd)
		if s.lose > 0 {
			s.lose--
			cmd.SetErr(errLostAnswer)
		}
		return cmd.Err()
	}
}

func (s *server) run(cmd redis.Cmder) {
	args := cmd.Args()
	switch cmd := cmd.(type) {
	case interface{ SetVal(bool) }: // SET key value EX seconds NX
		key, value := args[1].(string), args[2].(string)
		if _, held := s.keys[key]; !held {
			s.keys[key] = value
			cmd.SetVal(true)
		}
	case *redis.StringCmd:
		if cmd.Name() == "info" {
			cmd.SetVal(s.info)
			break
		}
		value, held := s.keys[args[1].(string)] // GET key
		if !held {
			cmd.SetErr(redis.Nil)
		}
		cmd.SetVal(value)
	case interface{ SetVal(any) }: // EVAL, EVALSHA
		if s.forgot && args[0] == "evalsha" {
			cmd.(redis.Cmder).SetErr(redis.ErrNoScript)
			return
		}
		keys := args[2].(int)
		if rest := args[3+keys:]; len(rest) > 0 {
			if _, extends := rest[0].(int64); extends {
				s.extend(cmd, keys, args[3:])
				return
			}
		}
		cmd.SetVal(s.script(keys, args[3:]))
	case *redis.IntCmd: // PUBLISH
	case *redis.StringSliceCmd: // LRANGE
		cmd.SetVal(s.queue)
	default:
		cmd.SetErr(fmt.Errorf("ERR unknown command %v", args))
	}
}

// extend runs the script that extends locks.
func (s *server) extend(cmd interface{ SetVal(any) }, keys int, args []any) {
	if keys > 1 && s.several != nil {
		cmd.(redis.Cmder).SetErr(s.several)
		return
	}
	answers := make([]any, keys)
	for i := range answers {
		key := args[i].(string)
		switch {
		case s.failing[key] != "":
			answers[i] = s.failing[key]
		case s.keys[key] == args[keys+1+i]:
			answers[i] = int64(1)
		default:
			answers[i] = int64(0)
		}
	}
	cmd.SetVal(answers)
}

// script runs one of the other scripts of the package: that of the release has three keys. One without arguments reads the
// lock, or looks at the server.
func (s *server) script(keys int, args []any) any {
	lock := args[0].(string)
	holder, held := s.keys[lock]
	if len(args) == keys {
		if held {
			return []any{holder, int64(8000)}
		}
		return append([]any{}, s.refused...)
	}
	value := args[keys].(string)
	if !held || holder != value {
		if !held && (keys == 3 || len(args) == 2) {
			return int64(-1)
		}
		return int64(0)
	}
	if keys == 3 || len(args) == 2 {
		delete(s.keys, lock)
	}
	if keys == 3 && len(s.queue) > 0 {
		next := s.queue[0]
		s.queue = s.queue[1:]
		return next
	}
	return int64(1)
}

func (s *server) held(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.keys[key]
	return held
}
