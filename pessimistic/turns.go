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

// takeTurns waits for the turn at every lock, in their order, and returns those that it got, also with an error.
func (s *section) takeTurns(ctx context.Context) (got turns, _ error) {
	limited := ctx
	if s.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	for _, l := range s.locks {
		turn, err := s.takeTurn(limited, l)
		switch {
		case err == nil:
			got = append(got, turn)
		case ctx.Err() != nil:
			return got, l.failed(fmt.Errorf("waiting for other calls in this process: %w", ctx.Err()))
		default:
			return got, l.refused(s.waited.total, err)
		}
	}
	return got, nil
}

func (s *section) takeTurn(ctx context.Context, l lock) (*keyqueue.Turn[holding.Lock], error) {
	callers := &s.known.callers
	if s.noWait {
		if turn, free := callers.Try(l.Lock); free {
			return turn, nil
		}
		return nil, fmt.Errorf("%w by another call in this process", ErrLocked)
	}
	defer s.waited.since(time.Now())
	turn, err := callers.Wait(ctx, l.Lock)
	if err != nil {
		return nil, fmt.Errorf("%w: other calls in this process have it", ErrLockTimeout)
	}
	return turn, nil
}
