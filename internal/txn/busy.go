package txn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// waitedFor returns err, with nogap.ErrLockTimeout if SQLite says that it is busy, and what began at begun has taken as long as
// its busy_timeout, which is the caller's patience. SQLite has the same word for what it refuses at once, because to wait
// could not help: that is worth another attempt, and so is everything under a busy_timeout of 0. Nor does anybody wait for 517
// and 261, which are not LockBusy, or for SQLITE_LOCKED, which is AtOnce.
func (c *Conn) waitedFor(ctx context.Context, begun time.Time, err error) error {
	m := sqlerr.Of(err)
	if !m.Has(sqlerr.LockBusy|sqlerr.Retry) || m.Has(sqlerr.AtOnce) || !nogap.Retryable(err) || errors.Is(err, ErrLocked) {
		return err
	}
	took := time.Since(begun)
	ctx, cancel := beyond(ctx)
	defer cancel()
	var ms int64
	if readRow(ctx, c.conn, "PRAGMA busy_timeout", nil, []any{&ms}) != nil {
		return err
	}
	patience := time.Duration(ms) * time.Millisecond
	if patience <= 0 || took < patience {
		return err
	}
	return fmt.Errorf("%w: busy_timeout is %v: %w", nogap.ErrLockTimeout, patience, err)
}
