package distlock

import (
	"context"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/backoff"
)

// leftovers are the keys that a node may have set, or may yet set, for attempts that have failed. It did not answer,
// and a command that was sent is run even if the client has gone away. They are deleted once the node answers again.
type leftovers struct {
	node *node

	mu   sync.Mutex
	keys map[leftover]int // how often the node has yet to say that the key is not there
}

type leftover struct{ key, value string }

const (
	// maxLeftovers bounds the memory spent on a node that stays away. The TTL takes care of what exceeds it.
	maxLeftovers = 1024
	// leftoverChecks is more than once, because a node that wakes up may read a command only after one that was sent
	// later on another connection.
	leftoverChecks = 2
)

// add has a key deleted in the background if it has the value.
func (s *leftovers) add(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) >= maxLeftovers {
		return
	}
	if s.keys == nil {
		s.keys = make(map[leftover]int)
		s.node.tasks.run(s.clean)
	}
	s.keys[leftover{key, value}] = leftoverChecks
}

// clean runs until nothing is left or the Locker is closed.
func (s *leftovers) clean() {
	pause := backoff.FullJitter(s.node.timeout/4, time.Second)
	for attempt := 1; ; attempt++ {
		if s.pass() {
			attempt = 1 // the node answers
		}
		s.mu.Lock()
		if len(s.keys) == 0 {
			s.keys = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if backoff.Sleep(s.node.tasks.closing, pause(attempt)) != nil {
			return
		}
	}
}

// pass tries all keys once. It reports whether the node answered.
func (s *leftovers) pass() bool {
	s.mu.Lock()
	keys := make([]leftover, 0, len(s.keys))
	for k := range s.keys {
		keys = append(keys, k)
	}
	s.mu.Unlock()
	for _, k := range keys {
		ctx, cancel := context.WithTimeout(context.Background(), s.node.timeout)
		err := s.node.drop(ctx, k.key, k.value)
		cancel()
		if !answered(err) {
			return false
		}
		s.mu.Lock()
		if s.keys[k]--; s.keys[k] <= 0 {
			delete(s.keys, k)
		}
		s.mu.Unlock()
	}
	return true
}
