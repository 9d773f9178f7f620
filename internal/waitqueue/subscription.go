package waitqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/background"
	"github.com/nogap-go/nogap/internal/backoff"
)

// subscription is the one that this process has at a node: to the channel that has the process's own name, on which it
// is told that a lock it waits for was released. It is opened by the first caller that waits.
type subscription struct {
	client     redis.UniversalClient
	channel    string
	background *background.Group
	// deliver is called with the key of the lock that was released, and with "" when messages may have been lost.
	deliver func(key string)

	once  sync.Once
	ready chan struct{} // closed when the node has confirmed the subscription for the first time
}

// open starts the subscription, if need be, and waits until the node has confirmed it or ctx ends: a message sent
// before would not arrive.
func (s *subscription) open(ctx context.Context) error {
	s.once.Do(func() { s.background.Go(s.listen) })
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen runs until the background is closed.
func (s *subscription) listen() {
	closing := s.background.Closing()
	retry := backoff.FullJitter(50*time.Millisecond, time.Second)
	for attempt := 1; ; attempt++ {
		sub, err := s.subscribe(closing)
		if err == nil {
			stop := context.AfterFunc(closing, func() { sub.Close() })
			s.read(sub)
			stop()
			sub.Close()
		}
		if backoff.Sleep(closing, retry(attempt)) != nil {
			return
		}
	}
}

// subscribe turns the panic of a redis.Ring without a live shard into an error.
func (s *subscription) subscribe(ctx context.Context) (sub *redis.PubSub, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("waitqueue: subscribe: %v", p)
		}
	}()
	sub = s.client.Subscribe(ctx, s.channel)
	if sub == nil {
		return nil, errors.New("waitqueue: subscribe: the client returned nothing")
	}
	return sub, nil
}

// read delivers messages until the subscription is closed. go-redis reconnects by itself and tells so with another
// confirmation.
func (s *subscription) read(sub *redis.PubSub) {
	for msg := range sub.ChannelWithSubscriptions() {
		switch msg := msg.(type) {
		case *redis.Message:
			s.deliver(msg.Payload)
		case *redis.Subscription:
			select {
			case <-s.ready:
				s.deliver("")
			default:
				close(s.ready)
			}
		}
	}
}
