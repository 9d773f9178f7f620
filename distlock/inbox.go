package distlock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/backoff"
)

// inbox is the one subscription that this process has at a node: to the channel that has the process's own name, on
// which it is told that a lock it waits for was released. It is opened by the first caller that waits.
//
// Messages are hints. One may get lost, with the connection for example, or come in vain.
type inbox struct {
	client  redis.UniversalClient
	process string
	tasks   *tasks
	// deliver is called with the key of the lock that was released, and with "" when messages may have been lost.
	deliver func(key string)

	once  sync.Once
	ready chan struct{} // closed when the node has confirmed the subscription for the first time
}

// open starts the subscription, if need be, and waits until the node has confirmed it or ctx ends: a message sent
// before would not arrive.
func (b *inbox) open(ctx context.Context) error {
	b.once.Do(func() { b.tasks.run(b.listen) })
	select {
	case <-b.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *inbox) listen() {
	retry := backoff.FullJitter(50*time.Millisecond, time.Second)
	for attempt := 1; ; attempt++ {
		sub, err := b.subscribe()
		if err == nil {
			stop := context.AfterFunc(b.tasks.closing, func() { sub.Close() })
			b.read(sub)
			stop()
			sub.Close()
		}
		if backoff.Sleep(b.tasks.closing, retry(attempt)) != nil {
			return
		}
	}
}

// subscribe turns the panic of a redis.Ring without a live shard into an error.
func (b *inbox) subscribe() (sub *redis.PubSub, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("distlock: subscribe: %v", p)
		}
	}()
	sub = b.client.Subscribe(b.tasks.closing, channel(b.process))
	if sub == nil {
		return nil, errors.New("distlock: subscribe: the client returned nothing")
	}
	return sub, nil
}

// read delivers messages until the subscription is closed. go-redis reconnects by itself and tells so with another
// confirmation.
func (b *inbox) read(sub *redis.PubSub) {
	for msg := range sub.ChannelWithSubscriptions() {
		switch msg := msg.(type) {
		case *redis.Message:
			b.deliver(msg.Payload)
		case *redis.Subscription:
			select {
			case <-b.ready:
				b.deliver("")
			default:
				close(b.ready)
			}
		}
	}
}
