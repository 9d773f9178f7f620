package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// A call that commits lets the next one of this process in: while the COMMIT is under way, that one takes a connection, begins its
// transaction, and waits for the lock in the server, which hands it over as soon as the COMMIT stands. Its callback begins when
// the call before is over, so two connections are in use for a row at most, and only until then.

// longestFollow bounds how long a call that has its locks waits for the end of the call before, whose answer may be lost.
const longestFollow = time.Second

// lettingIn returns the callback with letting in the next calls behind it.
func (s *section) lettingIn(f callback.Func) callback.Func {
	if s.table == nil || !s.server.RowLocks {
		return f
	}
	return func(ctx context.Context, tx *sqlx.Tx) error {
		err := f(ctx, tx)
		if err == nil && s.turns.letIn() {
			s.passed = true
		}
		return err
	}
}

// awaitEarlier waits for the calls that have let this one in, unless the call can take its locks in the server meanwhile.
func (s *section) awaitEarlier(ctx context.Context) error {
	if s.turns.earlierOver() || s.eager() {
		return nil
	}
	start := time.Now()
	err := s.turns.await(ctx)
	s.waited.inProcess(start)
	if err != nil {
		return fmt.Errorf("%w: other calls in this process have it", ErrLockTimeout)
	}
	return nil
}

// eager reports whether the call can wait for its locks in the server as well as here. It can't if its transaction would see the
// database as it was before the wait, or if others would be short of connections.
func (s *section) eager() bool {
	if s.Before != nil || s.Isolation > sql.LevelReadCommitted || s.Policy.Last(1) || s.known.patient.Load() {
		return false
	}
	pool := s.db.Stats()
	return (pool.MaxOpenConnections == 0 || pool.InUse+2 <= pool.MaxOpenConnections) && (pool.Idle > 0 || pool.OpenConnections < 2)
}

// errEarly wraps the error of a lock that the call would have got if it had not been let in early.
type errEarly struct{ error }

func (e errEarly) Unwrap() error { return e.error }

func isEarly(err error) bool { return errors.As(err, new(errEarly)) }

// enter takes the locks in the server and waits until the calls before are over.
func (s *section) enter(ctx context.Context, inServer *session) error {
	early := !s.turns.earlierOver()
	err := s.acquire(ctx, inServer)
	switch m := sqlerr.Of(err); {
	case !early:
		return err
	case err == nil:
		limit := longestFollow
		if s.timeout > 0 {
			limit = min(limit, s.timeout)
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		_ = s.turns.await(limited) // then it is over in the server, and only its answer is late
		return ctx.Err()
	case m.Has(sqlerr.LockBusy) && !s.noWait && s.timeout == 0, m.Has(sqlerr.Retry) && !m.Has(sqlerr.Deadlock):
		// The server has a limit for lock waits that is shorter than a COMMIT, or a default isolation in which a row must not
		// change while a transaction waits for it.
		s.known.patient.Store(true)
		return errEarly{err}
	}
	return err
}

// pause waits between two attempts. After a COMMIT that failed it waits for the turns again.
func (s *section) pause(ctx context.Context, n int) error {
	if err := s.Policy.Wait(ctx, n); err != nil {
		return err
	}
	if !s.passed {
		return s.awaitAgain(ctx)
	}
	s.passed = false
	s.turns.done()
	s.refused = s.takeTurns(ctx)
	return s.refused
}

// awaitAgain waits for the calls that have let this one in, before it tries again: as long as its Timeout allows, like any wait
// for a turn. What comes after that, the next attempt says.
func (s *section) awaitAgain(ctx context.Context) error {
	if s.turns.earlierOver() {
		return nil
	}
	limited := ctx
	if s.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	defer s.waited.inProcess(time.Now())
	_ = s.turns.await(limited)
	return ctx.Err()
}
