package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// busySlice is how long SQLite waits for the write lock at a time. Some drivers can't interrupt its wait, so the end of
// a context is seen in between.
const busySlice = 50 * time.Millisecond

// begin opens a transaction. On SQLite it prepares the connection for writeLock first, because BEGIN already takes the
// write lock if the driver was told to send BEGIN IMMEDIATE.
func (l *locker) begin(ctx context.Context, conn *sql.Conn, open func() error) error {
	if !l.server.Is(nogap.SQLite) {
		return open()
	}
	if err := l.sliceWaits(ctx, conn); err != nil {
		return err
	}
	return l.whileBusy(ctx, open)
}

// writeLock takes SQLite's write lock, which has to come before the first read: what has been read before may be stale
// when the lock comes, so SQLite refuses to wait then.
func (l *locker) writeLock(ctx context.Context, tx *sqlx.Tx, table dialect.Ident) error {
	if err := l.sliceWaits(ctx, tx); err != nil {
		return err
	}
	return l.whileBusy(ctx, func() error {
		_, err := tx.ExecContext(ctx, l.server.WriteLock(table))
		return err
	})
}

// sliceWaits makes SQLite come back from waiting every busySlice, until the settings are undone.
func (l *locker) sliceWaits(ctx context.Context, q querier) error {
	if len(l.settings) > 0 {
		return nil
	}
	var before int64
	if err := q.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&before); err != nil {
		return err
	}
	l.patience = time.Duration(before) * time.Millisecond
	if l.timeout > 0 {
		l.patience = min(l.timeout, longest)
	}
	l.settings.exec(fmt.Sprintf("PRAGMA busy_timeout = %d", before))
	_, err := q.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", ceil(min(l.patience, busySlice), time.Millisecond)))
	return err
}

// whileBusy tries something that waits for the write lock until it works, or the patience is used up, or ctx ends.
func (l *locker) whileBusy(ctx context.Context, try func() error) error {
	begun := *l.waited
	for {
		start := time.Now()
		err := try()
		took := time.Since(start)
		*l.waited += took
		switch {
		case err == nil, !sqlerr.Of(err).Has(sqlerr.LockBusy), ctx.Err() != nil:
			return err
		case took < min(l.patience, busySlice)/2:
			return err // it did not wait, because waiting can't help
		case l.timeout > 0 && *l.waited >= l.timeout, l.timeout == 0 && *l.waited-begun >= l.patience:
			return err
		}
	}
}
