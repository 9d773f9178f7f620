package distlock

import (
	"errors"
	"runtime"
	"time"

	"github.com/go-redsync/redsync/v4/redis"
)

// errUnused is the error of the parts of redsync's interface that a Mutex as it is used here has no use for.
var errUnused = errors.New("distlock: not used")

// conn is redsync's Conn for a claim: it turns redsync's commands into those of the round.
type conn struct {
	claim *claim
	round *round
}

// SetNX takes the lock.
func (c *conn) SetNX(key, value string, ttl time.Duration) (bool, error) {
	return c.claim.take(c.round, key, value, ttl)
}

// Eval is called with redsync's two scripts, to delete the key and to extend it. Which one it is follows from the
// round. Both are replaced: a deletion also finds the process to wake.
func (c *conn) Eval(_ *redis.Script, keysAndArgs ...any) (any, error) {
	if len(keysAndArgs) < 2 {
		return nil, errUnused
	}
	key, isKey := keysAndArgs[0].(string)
	value, isValue := keysAndArgs[1].(string)
	switch {
	case !isKey || !isValue:
	case c.round.kind == taking:
		c.claim.drop(c.round.dropRound(c.claim.node.timeout), key, value)
		return int64(0), nil // redsync does not look at it
	case c.round.kind == extending && len(keysAndArgs) == 3:
		ms, ok := keysAndArgs[2].(int)
		if !ok {
			return nil, errUnused
		}
		return c.claim.extend(c.round, key, value, time.Duration(ms)*time.Millisecond)
	case c.round.kind == giving:
		return c.claim.give(c.round, key, value)
	}
	return nil, errUnused
}

// Close does nothing: the client has its own pool.
func (c *conn) Close() error { return nil }

func (c *conn) Get(string) (string, error)         { return "", errUnused }
func (c *conn) Set(string, string) (bool, error)   { return false, errUnused }
func (c *conn) ScriptLoad(*redis.Script) error     { return errUnused }
func (c *conn) PTTL(string) (time.Duration, error) { return 0, errUnused }

// growStack makes room for what go-redis needs. redsync calls each node on a new goroutine, whose small stack would
// otherwise be doubled, and copied with all that is on it, several times on the way down.
//
//go:noinline
func growStack() {
	var room [6 << 10]byte
	runtime.KeepAlive(&room)
}
