package pessimistic

import (
	"context"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/keyqueue"
)

// turns are those of one call among the callers of this process.
type turns []*keyqueue.Turn[holding.Lock]

func (t turns) done() {
	for _, turn := range t {
		turn.Done()
	}
}

// letIn lets those in who wait behind the call, and reports whether there were any.
func (t turns) letIn() (any bool) {
	for _, turn := range t {
		if turn.LetIn() {
			any = true
		}
	}
	return any
}

// earlierOver reports whether all calls are over that have let this one in.
func (t turns) earlierOver() bool {
	for _, turn := range t {
		if turn.Earlier() != nil {
			select {
			case <-turn.Earlier():
			default:
				return false
			}
		}
	}
	return true
}

// await waits until all calls are over that have let this one in, or ctx ends.
func (t turns) await(ctx context.Context) error {
	for _, turn := range t {
		if turn.Earlier() != nil {
			select {
			case <-turn.Earlier():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// takeTurns waits for the turn at every lock, in their order. Those that it got are in s.turns, also with an error.
func (s *section) takeTurns(ctx context.Context) error {
	s.turns = nil
	limited := ctx
	if s.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	for _, l := range s.locks {
		turn, err := s.takeTurn(limited, l)
		if err == nil {
			s.turns = append(s.turns, turn)
			err = s.awaitEarlier(limited)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return l.failed(fmt.Errorf("waiting for other calls in this process: %w", ctx.Err()))
		default:
			return l.refused(s.waited.total, err)
		}
	}
	return nil
}

func (s *section) takeTurn(ctx context.Context, l *lock) (*keyqueue.Turn[holding.Lock], error) {
	callers := &s.known.callers
	if s.noWait {
		if turn, free := callers.Try(l.Lock); free {
			return turn, nil
		}
		return nil, fmt.Errorf("%w by another call in this process", ErrLocked)
	}
	start := time.Now()
	turn, err := callers.Wait(ctx, l.Lock)
	if err != nil || !turn.Immediate() {
		s.waited.inProcess(start)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: other calls in this process have it", ErrLockTimeout)
	}
	return turn, nil
}
