package idempotency

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// lockLimit bounds how long the statements of a transaction wait for locks, until it is lifted.
type lockLimit struct {
	prefix string // stands before the statement
	lift   func(ctx context.Context) error
	// after undoes it once the transaction is over, however it ended.
	after func(ctx context.Context, conn *sql.Conn) error
}

// undo undoes what outlives the transaction.
func (l *lockLimit) undo(ctx context.Context, conn *sql.Conn) error {
	if l.after == nil {
		return nil
	}
	return l.after(ctx, conn)
}

const restoreSessionLimit = "SET SESSION innodb_lock_wait_timeout = @nogap_lock_wait_timeout"

// limitLocks bounds the waits of r by d, or, if d is 0, by as little as the server knows.
func limitLocks(ctx context.Context, r txn.Runner, s dialect.Server, d time.Duration) (l lockLimit, err error) {
	l.lift = func(context.Context) error { return nil }
	switch s.LockLimit {
	case dialect.LocalLimit:
		const set = "set_config('lock_timeout', $1, true)"
		var before, now string
		ms := strconv.FormatInt(max(1, ceil(d, time.Millisecond)), 10)
		err = r.Read(ctx, "SELECT current_setting('lock_timeout'), "+set, []any{ms}, &before, &now)
		l.lift = func(ctx context.Context) error { return r.Read(ctx, "SELECT "+set, []any{before}, &now) }
	case dialect.StatementLimit:
		l.prefix = fmt.Sprintf("SET STATEMENT innodb_lock_wait_timeout = %d", ceil(d, time.Second))
		if d > 0 {
			l.prefix += fmt.Sprintf(", max_statement_time = %f", d.Seconds())
		}
		l.prefix += " FOR "
	case dialect.SessionLimit:
		_, err = r.Exec(ctx, "SET @nogap_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = "+
			strconv.FormatInt(max(1, ceil(d, time.Second)), 10))
		l.lift = func(ctx context.Context) error {
			_, err := r.Exec(ctx, restoreSessionLimit)
			return err
		}
		l.after = func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, restoreSessionLimit)
			return err
		}
	}
	return l, err
}

func ceil(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }
