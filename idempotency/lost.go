package idempotency

import (
	"context"
	"sync"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// lostTry is a transaction whose COMMIT got no answer.
type lostTry struct {
	try     int64
	session dialect.Lost
}

// lostTries are those whose calls have returned nogap.ErrOutcomeUnknown: the next call with the key ends their sessions.
type lostTries struct {
	mu   sync.Mutex
	keys map[place]*lostTry
}

// maxLost bounds how many are kept. Of the others the server ends the sessions, when its limits say so.
const maxLost = 10000

func (l *lostTries) put(p place, t *lostTry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = make(map[place]*lostTry)
	}
	if len(l.keys) < maxLost {
		l.keys[p] = t
	}
}

// take returns what was put, or nil, and forgets it.
func (l *lostTries) take(p place) *lostTry {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.keys[p]
	delete(l.keys, p)
	return t
}

// end ends the session of a lost try, as far as that is possible: if it is not, the next statement waits for it.
func (s *store) end(ctx context.Context, server dialect.Server, l *lostTry) {
	_ = txn.With(ctx, s.t.DB(), func(c *txn.Conn) error { return server.EndSession(ctx, c, l.session) })
}
