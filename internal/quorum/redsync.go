package quorum

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
)

// newRedsync returns a Mutex of redsync for one operation. Its Pools know the operation, and what their nodes have
// said.
func newRedsync(op *operation) *redsync.Mutex {
	pools := make([]redis.Pool, len(op.grants))
	conns := make([]conn, len(op.grants))
	for i := range op.grants {
		conns[i] = conn{operation: op, grant: &op.grants[i]}
		pools[i] = pool{&conns[i]}
	}
	return redsync.New(pools...).NewMutex(op.key, options{op})
}

// options is a redsync.Option that stands for several, each of which would be allocated.
type options struct{ op *operation }

func (o options) Apply(m *redsync.Mutex) {
	redsync.WithExpiry(o.op.ttl).Apply(m)
	redsync.WithTimeoutFactor(1).Apply(m) // the round has its own time
	if o.op.kind == acquiring {
		redsync.WithGenValueFunc(func() (string, error) { return o.op.value, nil }).Apply(m)
	} else {
		redsync.WithValue(o.op.value).Apply(m)
	}
}

// pool is redsync's Pool for one node in one operation.
type pool struct{ conn *conn }

// Get implements redis.Pool. The context is redsync's own; the round's counts.
func (p pool) Get(context.Context) (redis.Conn, error) {
	growStack()
	return p.conn, nil
}

// conn is redsync's Conn for one node in one operation. Key, value and TTL are those of the operation, from which
// redsync has them.
type conn struct {
	unused
	operation *operation
	grant     *grant
}

var errUnused = errors.New("quorum: redsync called what it has no use for")

// SetNX acquires the lock.
func (c *conn) SetNX(string, string, time.Duration) (bool, error) {
	if c.operation.kind != acquiring {
		return false, errUnused
	}
	return c.grant.acquire(c.operation)
}

// Eval is called with the script of redsync that deletes the key, after a failed attempt or at a release, and with the
// one that extends it. Ours run in their place: a release also finds the process to wake.
func (c *conn) Eval(script *redis.Script, _ ...any) (any, error) {
	op, known := c.operation, redsyncScripts()
	switch {
	case script.Hash == known.delete && op.kind == acquiring:
		c.grant.delete(op)
		return int64(0), nil // redsync does not look at it
	case script.Hash == known.delete && op.kind == releasing:
		status, err := c.grant.release(op)
		return int64(status), err
	case script.Hash == known.extend && op.kind == extending:
		if yes, err := c.grant.extend(op); !yes {
			return int64(0), err
		}
		return int64(1), nil
	}
	return c.unused.Eval(script)
}

// unused is what redsync's Conn has, and the operations on locks have no use for.
type unused struct{}

func (unused) Get(string) (string, error)                        { return "", errUnused }
func (unused) Set(string, string) (bool, error)                  { return false, errUnused }
func (unused) SetNX(string, string, time.Duration) (bool, error) { return false, errUnused }
func (unused) ScriptLoad(*redis.Script) error                    { return errUnused }
func (unused) PTTL(string) (time.Duration, error)                { return 0, errUnused }

func (unused) Eval(script *redis.Script, _ ...any) (any, error) {
	return nil, fmt.Errorf("%w: script %s", errUnused, script.Hash)
}

// Close does nothing: the client has its own pool.
func (unused) Close() error { return nil }

// redsyncScripts returns the hashes of the scripts with which redsync deletes and extends a key. redsync does not
// export them, so a Mutex is asked to use each of them once, on a Conn that only looks.
var redsyncScripts = sync.OnceValue(func() (known struct{ delete, extend string }) {
	ask := func(use func(*redsync.Mutex) (bool, error)) string {
		seen := new(scriptRecorder)
		use(redsync.New(seenPool{seen}).NewMutex("key", redsync.WithValue("value")))
		return seen.hash
	}
	known.delete, known.extend = ask((*redsync.Mutex).Unlock), ask((*redsync.Mutex).Extend)
	return known
})

type seenPool struct{ recorder *scriptRecorder }

func (p seenPool) Get(context.Context) (redis.Conn, error) { return p.recorder, nil }

// scriptRecorder is a Conn that notes which script it is asked to run.
type scriptRecorder struct {
	unused
	hash string
}

func (r *scriptRecorder) Eval(script *redis.Script, _ ...any) (any, error) {
	r.hash = script.Hash
	return int64(1), nil
}

// growStack makes room for what go-redis needs. redsync calls each node on a new goroutine, whose small stack would
// otherwise be doubled, and copied with all that is on it, several times on the way down.
//
//go:noinline
func growStack() {
	var room [6 << 10]byte
	runtime.KeepAlive(&room)
}
