package distlock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/backoff"
)

// node is one of the independent Redis servers, behind the caller's client. A client may hang for as long as its own
// timeouts and retries allow, 20 seconds by default in go-redis, and does not stop when its context ends. So every
// command runs on a goroutine of its own, for which nobody waits longer than the round that it belongs to.
type node struct {
	index   int
	addr    string
	client  redis.UniversalClient
	timeout time.Duration
	ttl     time.Duration
	tasks   *tasks
	inbox   *inbox

	// late is set while the node's last answer came too late or not at all. A late node is still asked, but its answer
	// is waited for only as long as it can make a difference.
	late     atomic.Bool
	inFlight atomic.Int32
	drops    atomic.Int32
}

const (
	// maxLate bounds the commands in flight to a node that is late, and with them the goroutines and connections that
	// hang there.
	maxLate = 32
	// maxDrops bounds the clean-ups that wait for a node to answer again. The TTL takes care of the rest.
	maxDrops = 256
)

// timeoutError says that a node did not answer in time. It does not wrap the context's error, which would look as if
// the caller's context had ended.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (e timeoutError) Timeout() bool { return true }

// errOverrun is the error of a node that is not asked at all.
var errOverrun = fmt.Errorf("%d earlier commands are still unanswered", maxLate)

func address(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().Addr
	case *redis.ClusterClient:
		return fmt.Sprint(c.Options().Addrs)
	}
	return ""
}

// ask runs f, which sends a command to n, and waits for what it returns until the round is over for the node. f goes on
// alone if it comes to that, and then has to see to what it finds out.
func ask[T any](r *round, n *node, f func(ctx context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var enough <-chan struct{}
	if n.late.Load() {
		if n.inFlight.Load() >= maxLate {
			return *new(T), errOverrun
		}
		enough = r.decided
	}
	n.inFlight.Add(1)
	r.hold()
	done := make(chan answer, 1)
	go func() {
		value, err := f(r.ctx)
		n.inFlight.Add(-1)
		if answered(err) && r.ctx.Err() == nil {
			n.late.Store(false)
		}
		done <- answer{value, err}
		r.release()
	}()
	select {
	case a := <-done:
		if a.err != nil && r.ctx.Err() != nil && !answered(a.err) {
			n.late.Store(true)
			a.err = timeoutError{n.timeout}
		}
		return a.value, a.err
	case <-r.ctx.Done():
		n.late.Store(true)
		return *new(T), timeoutError{n.timeout}
	case <-enough:
		return *new(T), errUnanswered
	case <-r.giveUp:
		return *new(T), errInterrupt
	}
}

// answered reports whether err comes from the server, or is no error.
func answered(err error) bool {
	var reply redis.Error
	return err == nil || errors.As(err, &reply)
}

// take sets the lock's key if nobody has it. go-redis repeats a command whose answer it has missed, so a refusal may be
// due to the first try: then the key has our own value.
func (n *node) take(ctx context.Context, key, value string, ttl time.Duration) (bool, error) {
	ok, err := n.client.SetNX(ctx, key, value, ttl).Result()
	if ok || err != nil {
		return ok, err
	}
	holder, err := n.client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil // released in between
	}
	return err == nil && holder == value, err
}

// give deletes the key if it still has the value. The status is redsync's: 1 deleted, 0 somebody else's, -1 not there.
// next is the waiting process to wake, if there is one.
func (n *node) give(ctx context.Context, key, value string) (status int64, next string, err error) {
	reply, err := releaseScript.Run(ctx, n.client, []string{key, queueKey(key)}, value).Slice()
	if err != nil {
		return 0, "", err
	}
	if len(reply) == 2 {
		status, isInt := reply[0].(int64)
		next, isText := reply[1].(string)
		if isInt && isText {
			return status, next, nil
		}
	}
	return 0, "", fmt.Errorf("unexpected reply %v", reply)
}

// drop deletes what an attempt has left behind, or may yet leave behind, on a node that did not answer it. It tries
// until the node answers or the TTL has done the work, and comes back once more: the node may run a command that it
// had not read yet after one that was sent later on another connection.
func (n *node) drop(key, value string) {
	if n.drops.Add(1) > maxDrops {
		n.drops.Add(-1)
		return
	}
	n.tasks.run(func() {
		defer n.drops.Add(-1)
		pause := backoff.FullJitter(n.timeout/4, n.timeout)
		deadline := time.Now().Add(n.ttl)
		for attempt, clean := 1, 0; clean < 2 && time.Now().Before(deadline); attempt++ {
			ctx, cancel := context.WithTimeout(context.Background(), n.timeout)
			err := dropScript.Run(ctx, n.client, []string{key}, value).Err()
			cancel()
			if answered(err) {
				clean++
			}
			if backoff.Sleep(n.tasks.closing, pause(attempt)) != nil {
				return
			}
		}
	})
}

// join puts this process into the lock's queue. It returns how long the lock has left on this node; a negative time
// means that nobody holds it here.
func (n *node) join(ctx context.Context, key, process string, keep time.Duration) (time.Duration, error) {
	ms, err := joinScript.Run(ctx, n.client, []string{key, queueKey(key)}, process, keep.Milliseconds()).Int64()
	return time.Duration(ms) * time.Millisecond, err
}

// leave takes this process out of the queue. It reports false if somebody has taken it out, to wake it.
func (n *node) leave(ctx context.Context, key, process string) (bool, error) {
	removed, err := n.client.LRem(ctx, queueKey(key), 0, process).Result()
	return removed > 0, err
}

// wake tells a waiting process that the lock has been released, or the next one if that is gone. The message goes
// through the client and not through the script: so a Cluster or a Ring sends it where the process has subscribed.
func (n *node) wake(ctx context.Context, key, process string) {
	for process != "" {
		heard, err := n.client.Publish(ctx, channel(process), key).Result()
		if err != nil || heard > 0 {
			return
		}
		process, err = n.client.LPop(ctx, queueKey(key)).Result()
		if err != nil {
			return
		}
	}
}

// wakeNext wakes whoever has waited longest.
func (n *node) wakeNext(ctx context.Context, key string) {
	if process, err := n.client.LPop(ctx, queueKey(key)).Result(); err == nil {
		n.wake(ctx, key, process)
	}
}

// channel returns the name of the channel to which a process subscribes.
func channel(process string) string { return "nogap:wake:" + process }
