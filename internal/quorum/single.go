package quorum

import (
	"context"
	"errors"
	"time"
)

// single is the mutex on one node: SET NX, with no majority to find. redsync would ask the one node on a goroutine of
// its own, which costs a tenth of the time of an uncontended lock.
type single struct{ op *operation }

var errRefused = errors.New("refused")

func (s single) TryLockContext(context.Context) error {
	start := time.Now()
	ok, err := s.op.grants[0].acquire(s.op)
	if ok && s.renewed(start) {
		return nil
	}
	s.op.grants[0].delete(s.op)
	if err == nil {
		err = errRefused
	}
	return err
}

func (s single) ExtendContext(context.Context) (bool, error) {
	start := time.Now()
	ok, err := s.op.grants[0].extend(s.op)
	return ok && s.renewed(start), err
}

func (s single) UnlockContext(context.Context) (bool, error) {
	status, err := s.op.grants[0].release(s.op)
	return err == nil && status == released, err
}

func (s single) Until() time.Time { return s.op.until }

// renewed notes a TTL that began at start or later. It reports false if it is over already.
func (s single) renewed(start time.Time) (ok bool) {
	s.op.until, ok = validity(start, s.op.ttl)
	return ok
}

// validity returns the end of a TTL that began at start or later, less redsync's allowance for clocks that drift. It
// reports false if that is over already.
func validity(start time.Time, ttl time.Duration) (until time.Time, ok bool) {
	until = start.Add(ttl - ttl/100)
	return until, time.Now().Before(until)
}
