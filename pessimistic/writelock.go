package pessimistic

import (
	"context"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/lockwait"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// busySlice is how long SQLite waits for the write lock at a time. Some drivers can't interrupt its wait, so the end of
// a context is seen in between.
const busySlice = 50 * time.Millisecond

// begin opens a transaction on a connection. Where there is one write lock it prepares the connection for writeLock first,
// because BEGIN already takes the lock if the driver was told to send BEGIN IMMEDIATE. The errors of that name l.
func (s *session) begin(ctx context.Context, l *lock, conn lockwait.Querier, open func() error) error {
	if s.server.RowLocks {
		return open()
	}
	if err := s.sliceWaits(ctx, conn); err != nil {
		return err
	}
	return s.explain(l, s.whileBusy(ctx, open))
}

// writeLock takes the write lock, which has to come before the first read: what has been read before may be stale when the
// lock comes, so SQLite refuses to wait then.
func (s *session) writeLock(ctx context.Context, table dialect.Ident) error {
	if err := s.sliceWaits(ctx, s.tx); err != nil {
		return err
	}
	return s.whileBusy(ctx, func() error {
		_, err := s.tx.ExecContext(ctx, s.server.WriteLock(table))
		return err
	})
}

// sliceWaits makes SQLite come back from waiting every busySlice, until the settings are undone.
func (s *session) sliceWaits(ctx context.Context, q lockwait.Querier) error {
	if len(s.settings) > 0 {
		return nil
	}
	var before int64
	if err := q.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&before); err != nil {
		return err
	}
	s.patience = time.Duration(before) * time.Millisecond
	if s.timeout > 0 {
		s.patience = min(s.timeout, lockwait.Longest)
	}
	s.settings.Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", before))
	_, err := q.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", lockwait.Ceil(min(s.patience, busySlice), time.Millisecond)))
	return err
}

// whileBusy tries something that waits for the write lock until it works, or the patience is used up, or ctx ends.
func (s *session) whileBusy(ctx context.Context, try func() error) error {
	begun := s.waited.total
	for {
		start := time.Now()
		err := try()
		took := s.waited.inServer(start)
		switch {
		case err == nil, !sqlerr.Of(err).Has(sqlerr.LockBusy), ctx.Err() != nil:
			return err
		case took < min(s.patience, busySlice)/2:
			return err // it did not wait, because waiting can't help
		case s.timeout > 0 && s.waited.total >= s.timeout, s.timeout == 0 && s.waited.total-begun >= s.patience:
			if s.patience > 0 { // else busy_timeout is 0, which is no wait and no limit
				err = fmt.Errorf("%w: %w", ErrLockTimeout, err)
			}
			return err
		}
	}
}
