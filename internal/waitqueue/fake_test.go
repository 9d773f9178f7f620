package waitqueue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/quorum"
)

// server is a Redis server in the place of a client's connections: a go-redis hook that answers the commands of one
// queue. It has no subscriptions: who is to be woken is noted.
type server struct {
	mu    sync.Mutex
	queue []string
	gone  map[string]bool // the channels that nobody listens to any more
	ttl   time.Duration   // what the lock has left; 0 if nobody holds it
	woken []string        // the channels that got a message
}

func (s *server) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *server) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *server) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		args := cmd.Args()
		switch cmd := cmd.(type) {
		case *redis.IntCmd:
			cmd.SetVal(s.count(cmd.Name(), args))
		case *redis.StringCmd: // LPOP key
			if len(s.queue) == 0 {
				cmd.SetErr(redis.Nil)
				break
			}
			cmd.SetVal(s.queue[0])
			s.queue = s.queue[1:]
		case *redis.Cmd: // EVALSHA sha 2 lock queue process keep RPUSH
			cmd.SetVal(s.join(args[5].(string), args[7].(string)))
		default:
			cmd.SetErr(fmt.Errorf("ERR unknown command %v", args))
		}
		return cmd.Err()
	}
}

func (s *server) count(command string, args []any) int64 {
	if command == "publish" {
		channel := args[1].(string)
		if s.gone[channel] {
			return 0
		}
		s.woken = append(s.woken, channel)
		return 1
	}
	before := len(s.queue) // LREM key 0 process
	s.queue = slices.DeleteFunc(s.queue, func(p string) bool { return p == args[3] })
	return int64(before - len(s.queue))
}

func (s *server) join(process, end string) int64 {
	switch {
	case slices.Contains(s.queue, process):
	case end == "LPUSH":
		s.queue = slices.Insert(s.queue, 0, process)
	default:
		s.queue = append(s.queue, process)
	}
	if s.ttl == 0 {
		return -2
	}
	return s.ttl.Milliseconds()
}

func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *server) now() (queue, woken []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queue), slices.Clone(s.woken)
}

var keys = quorum.Keys{Prefix: "lock:"}

// newQueue returns the Waiters of process "me" on a server. Its subscription counts as confirmed, and is never opened.
func newQueue(t *testing.T, s *server) *Waiters {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	client.AddHook(s)
	bg := background.New()
	nodes, err := quorum.New([]redis.UniversalClient{client}, quorum.Config{
		Keys: keys, TTL: 8 * time.Second, Timeout: time.Second,
	}, bg)
	require.NoError(t, err)
	q := New(nodes.All(), Config{
		Process: "me", Keys: keys, Backoff: func(int) time.Duration { return time.Minute },
		Failed:   func(context.Context, *quorum.Node, string, error) {},
		Hopeless: nodes.Hopeless,
	}, bg)
	for _, sub := range q.subscriptions {
		sub.once.Do(func() { sub.set(true, nil) })
	}
	t.Cleanup(func() {
		bg.Close()
		require.True(t, bg.Wait(time.Minute))
		client.Close()
	})
	return q
}
