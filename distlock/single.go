package distlock

import (
	"context"
	"errors"
	"time"
)

// mutex is what a hold needs of redsync's Mutex.
type mutex interface {
	TryLockContext(ctx context.Context) error
	ExtendContext(ctx context.Context) (bool, error)
	UnlockContext(ctx context.Context) (bool, error)
	Until() time.Time
}

// single is the mutex on one node: SET NX, with no quorum to find. redsync would ask the one node on a goroutine of its
// own, which costs a tenth of the time of an uncontended lock.
type single struct {
	claim      *claim
	key, value string
	ttl        time.Duration
	until      time.Time
}

var errRefused = errors.New("refused")

func (s *single) TryLockContext(ctx context.Context) error {
	r := roundOf(ctx)
	start := time.Now()
	ok, err := s.claim.take(r, s.key, s.value, s.ttl)
	if ok && s.renewed(start) {
		return nil
	}
	s.claim.drop(r.dropRound(s.claim.node.timeout), s.key, s.value)
	if err == nil {
		err = errRefused
	}
	return err
}

func (s *single) ExtendContext(ctx context.Context) (bool, error) {
	start := time.Now()
	status, err := s.claim.extend(roundOf(ctx), s.key, s.value, s.ttl)
	return err == nil && status > 0 && s.renewed(start), err
}

func (s *single) UnlockContext(ctx context.Context) (bool, error) {
	status, err := s.claim.give(roundOf(ctx), s.key, s.value)
	return err == nil && status > 0, err
}

func (s *single) Until() time.Time { return s.until }

// renewed notes a TTL that began at start or later, less redsync's allowance for clocks that drift. It reports false if
// it is over already.
func (s *single) renewed(start time.Time) bool {
	until := start.Add(s.ttl - s.ttl/100)
	if !time.Now().Before(until) {
		return false
	}
	s.until = until
	return true
}
