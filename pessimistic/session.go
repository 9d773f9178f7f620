package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/lockwait"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// session is that of the server in which one transaction takes its locks.
type session struct {
	*config
	server dialect.Server
	waited *waited // of the call
	tx     nogap.Tx

	settings lockwait.Undos // as they were
	locks    lockwait.Undos // that outlive the transaction

	patience time.Duration // with BusyLimit: how long to wait for the write lock
}

// explain turns the server's word for a lock that was not acquired into the caller's: the servers use the same codes for
// NOWAIT and for a timeout. A busy SQLite is asked again, unless there is a timeout.
func (s *session) explain(l *lock, err error) error {
	m := sqlerr.Of(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrLocked), errors.Is(err, ErrLockTimeout):
	case m.Has(sqlerr.LockBusy) && s.noWait:
		err = fmt.Errorf("%w: %w", ErrLocked, err)
	case m.Has(sqlerr.LockBusy) && (s.timeout > 0 || !m.Has(sqlerr.Retry)):
		err = fmt.Errorf("%w: %w", ErrLockTimeout, err)
	default:
		return l.failed(err)
	}
	return l.refused(s.waited.total, err)
}

// left returns how long the call may still wait.
func (s *session) left() (time.Duration, error) {
	left := min(s.timeout, lockwait.Longest) - s.waited.total
	if left <= 0 {
		return 0, ErrLockTimeout
	}
	return left, nil
}

// hold notes for the calls that the callback makes which locks the transaction has, beyond those that it began with.
func (s *session) hold(ctx context.Context, locks []*lock) {
	for _, l := range locks {
		holding.Add(ctx, s.tx, s.mode.Exclusive(), l.Lock)
	}
}

// undo leaves nothing of the transaction behind in the session.
func (s *session) undo(ctx context.Context, conn *sql.Conn) error {
	if err := s.settings.Undo(ctx, conn); err != nil {
		return err
	}
	return s.locks.Undo(ctx, conn)
}
