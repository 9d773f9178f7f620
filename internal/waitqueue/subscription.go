package waitqueue

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/backoff"
	"github.com/nogap-go/nogap/internal/quorum"
)

// confirmation is how long a node may take to confirm a subscription before it is tried again.
const confirmation = 5 * time.Second

// subscription is the one that this process has at a node: to the channel that has the process's own name, on which it
// is told that a lock it waits for was released. It is opened by the first caller that waits.
type subscription struct {
	node       *quorum.Node
	process    string
	background *background.Group
	// deliver is called with the key of the lock that was released, and with "" when messages may have been lost.
	deliver func(key string)

	once sync.Once

	mu        sync.Mutex
	confirmed bool
	err       error         // why it could not be opened, if it is not confirmed
	changed   chan struct{} // closed at the next change of the two
}

// open starts the subscription, if need be, and waits until the node has confirmed it, an attempt has failed, or ctx
// ends: a message sent before would not arrive.
func (s *subscription) open(ctx context.Context) error {
	s.once.Do(func() { s.background.Go(s.listen) })
	for {
		confirmed, changed, err := s.state()
		if confirmed || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *subscription) state() (confirmed bool, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.confirmed, s.changed, s.err
}

func (s *subscription) set(confirmed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed, s.err = confirmed, err
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// listen runs until the background is closed.
func (s *subscription) listen() {
	closing := s.background.Closing()
	retry := backoff.FullJitter(50*time.Millisecond, time.Second)
	sharded := s.node.Sharded(nil)
	first := true
	for attempt := 1; ; attempt++ {
		err := s.receive(closing, sharded, first)
		if err == nil {
			attempt, first = 0, false
		}
		sharded = sharded && s.node.Sharded(err)
		s.set(false, err)
		s.node.Moved(closing)
		if backoff.Sleep(closing, retry(attempt)) != nil {
			return
		}
	}
}

// receive subscribes and delivers messages until the subscription ends. It returns an error if it was not confirmed. If
// it is not the first, messages have been lost since the last one.
func (s *subscription) receive(closing context.Context, sharded, first bool) error {
	sub, err := s.node.Subscribe(closing, s.process, sharded)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(closing, func() { sub.Close() })
	defer stop()
	defer sub.Close()
	if _, err := sub.ReceiveTimeout(closing, confirmation); err != nil {
		return err
	}
	s.set(true, nil)
	if !first {
		s.deliver("")
	}
	s.read(sub)
	return nil
}

// read delivers messages until the subscription is closed, or the server ends it because the channel is another
// server's now. go-redis reconnects by itself and tells so with another confirmation.
func (s *subscription) read(sub *redis.PubSub) {
	for msg := range sub.ChannelWithSubscriptions() {
		switch msg := msg.(type) {
		case *redis.Message:
			s.deliver(msg.Payload)
		case *redis.Subscription:
			if msg.Kind == "sunsubscribe" {
				return
			}
			s.deliver("")
		}
	}
}
