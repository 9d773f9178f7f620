package distlock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// node is one of the independent Redis servers, behind the caller's client. A client may hang for as long as its own
// timeouts and retries allow, 20 seconds by default in go-redis, and does not stop when its context ends. So a command
// runs on a goroutine of its own, for which nobody waits longer than the round that it belongs to.
//
// That costs a switch between goroutines, a tenth of an uncontended lock on a fast network. A *redis.Client does
// without it while its node answers in time: it can be told to keep to NodeTimeout itself.
type node struct {
	index     int
	addr      string
	client    redis.UniversalClient
	prompt    bool // the client keeps to the timeout
	timeout   time.Duration
	tasks     *tasks
	inbox     *inbox
	leftovers leftovers

	// late is set while the node's last answer came too late or not at all. A late node is still asked, but its answer
	// is waited for only as long as it can make a difference.
	late     atomic.Bool
	inFlight atomic.Int32
}

// maxLate bounds the commands in flight to a node that is late, and with them the goroutines and connections that hang
// there.
const maxLate = 32

func (l *Locker) newNode(index int, client redis.UniversalClient) *node {
	n := &node{index: index, addr: address(client), client: client, timeout: l.config.nodeTimeout, tasks: l.tasks}
	if c, ok := client.(*redis.Client); ok {
		n.prompt = true
		// The deadline of the round's context is all that a client needs which heeds it. One without a timeout of its
		// own, which shows as a negative one, sets no deadline whatever the context says.
		if o := c.Options(); !o.ContextTimeoutEnabled || o.ReadTimeout < 0 || o.WriteTimeout < 0 {
			own := c.WithTimeout(n.timeout)            // with the same pool of connections, but without hooks
			own.Options().ContextTimeoutEnabled = true // or each read has the whole time
			n.client = own
		}
	}
	n.inbox = &inbox{
		client: client, process: l.process, tasks: l.tasks, ready: make(chan struct{}),
		deliver: func(key string) { l.deliver(n, key) },
	}
	n.leftovers.node = n
	return n
}

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
	late := n.late.Load()
	if n.prompt && !late && !r.hasty {
		value, err := guarded(r.ctx, f)
		return value, n.judge(r, err)
	}
	var enough <-chan struct{}
	if late {
		if n.inFlight.Load() >= maxLate {
			return *new(T), errOverrun
		}
		enough = r.decided
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	n.inFlight.Add(1)
	r.hold()
	go func() {
		value, err := guarded(r.ctx, f)
		err = n.judge(r, err)
		n.inFlight.Add(-1)
		r.release()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
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

// guarded turns a panic of the client, in a hook for example, into an error: it would leave the lock's turn taken for ever,
// or end the process.
func guarded[T any](ctx context.Context, f func(ctx context.Context) (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the client panicked: %v", p)
		}
	}()
	return f(ctx)
}

// judge notes whether the node answered in time, and returns the error to report.
func (n *node) judge(r *round, err error) error {
	if answered(err) {
		if n.late.Load() && r.ctx.Err() == nil {
			n.late.Store(false)
		}
		return err
	}
	if r.ctx.Err() != nil {
		n.late.Store(true)
		return timeoutError{n.timeout}
	}
	return err
}

// answered reports whether err comes from the server, or is no error.
func answered(err error) bool {
	if err == nil {
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply)
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
//
// If the answer is lost, give asks again. If the first try has taken a process off the queue, the second one finds that
// out. Otherwise, that the key is not ours may be the work of the first try, so it counts for nothing, and the error is
// that of the first try.
func (n *node) give(ctx context.Context, key, value string) (status int64, next string, err error) {
	status, next, err = n.release(ctx, once{n.client}, key, value)
	if err == nil || ctx.Err() != nil {
		return status, next, err
	}
	first := err
	status, next, err = n.release(ctx, n.client, key, value)
	if status <= 0 && !answered(first) {
		err = first
	}
	return status, next, err
}

func (n *node) release(ctx context.Context, via redis.Scripter, key, value string) (status int64, next string, err error) {
	keys := []string{key, queueKey(key), wokenKey(key)}
	reply, err := releaseScript.Run(ctx, via, keys, value, n.timeout.Milliseconds()+1).Result()
	if err != nil {
		return 0, "", err
	}
	switch reply := reply.(type) {
	case int64:
		return reply, "", nil
	case string:
		return 1, reply, nil
	}
	return 0, "", fmt.Errorf("unexpected reply %v", reply)
}

// drop deletes what an attempt may have left behind.
func (n *node) drop(ctx context.Context, key, value string) error {
	return dropScript.Run(ctx, n.client, []string{key}, value).Err()
}

// join puts this process into the lock's queue: at the end, or at the head if it is to be first. If it is there
// already, it keeps its place. join returns how long the lock has left on this node, or a negative time if nobody holds
// it here. A queue that nobody joins again within keep is forgotten.
func (n *node) join(ctx context.Context, key, process string, first bool, keep time.Duration) (time.Duration, error) {
	push := "RPUSH"
	if first {
		push = "LPUSH"
	}
	ms, err := joinScript.Run(ctx, n.client, []string{key, queueKey(key)}, process, keep.Milliseconds(), push).Int64()
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
