package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

const (
	// restoreTimeout bounds how long putting a setting back or releasing a lock may take.
	restoreTimeout = 2 * time.Second
	// longest is the longest wait that every server can be told: PostgreSQL counts milliseconds in 32 bits.
	longest = math.MaxInt32 * time.Millisecond
)

// locker takes the locks of one transaction.
type locker struct {
	*config
	server dialect.Server
	waited *time.Duration // so far, in all transactions of the call

	settings undos // of the session, as they were
	locks    undos // that outlive the transaction

	patience time.Duration // SQLite: how long to wait for the write lock
}

// do runs a statement that takes locks, so that it waits for them no longer than what is left of the timeout. query is
// given what to put in front of its statement.
func (l *locker) do(ctx context.Context, tx *sqlx.Tx, table dialect.Ident, query func(prefix string) error) error {
	if l.server.Is(nogap.SQLite) {
		if err := l.writeLock(ctx, tx, table); err != nil {
			return err
		}
		return query("")
	}
	if l.timeout == 0 {
		return query("")
	}
	left, err := l.left()
	if err != nil {
		return err
	}
	prefix, err := l.limit(ctx, tx, left)
	if err != nil {
		return err
	}
	start := time.Now()
	err = query(prefix)
	took := time.Since(start)
	*l.waited += took
	switch m := sqlerr.Of(err); {
	case l.server.Is(nogap.Postgres) && m.Has(sqlerr.Server):
		l.settings = nil // they belong to the transaction, which has failed and accepts no statement
	case l.server.Is(nogap.MariaDB) && m.Has(sqlerr.Canceled) && took >= left:
		return fmt.Errorf("%w: %w", ErrLockTimeout, err) // max_statement_time, see limit
	}
	return err
}

// left returns how long the call may still wait.
func (l *locker) left() (time.Duration, error) {
	left := min(l.timeout, longest) - *l.waited
	if left <= 0 {
		return 0, ErrLockTimeout
	}
	return left, nil
}

// limit makes the next statement wait for locks no longer than d.
func (l *locker) limit(ctx context.Context, tx *sqlx.Tx, d time.Duration) (prefix string, err error) {
	seconds := strconv.Itoa(ceil(d, time.Second))
	first := len(l.settings) == 0
	switch {
	case l.server.Is(nogap.Postgres):
		// SET LOCAL takes no parameters; set_config does the same.
		const set = "set_config('lock_timeout', $1, true)"
		var before, now string
		err = tx.QueryRowContext(ctx, "SELECT current_setting('lock_timeout'), "+set, strconv.Itoa(ceil(d, time.Millisecond))).
			Scan(&before, &now)
		if err == nil && first {
			l.settings.exec("SELECT "+set, before)
		}
	case l.server.Is(nogap.MariaDB):
		// For this statement alone. InnoDB counts in seconds, and would give up sooner if its own limit were lower.
		return fmt.Sprintf("SET STATEMENT innodb_lock_wait_timeout = %s, max_statement_time = %f FOR ", seconds, d.Seconds()), nil
	case first:
		l.settings.exec("SET SESSION innodb_lock_wait_timeout = @nogap_lock_wait_timeout")
		_, err = tx.ExecContext(ctx, "SET @nogap_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout, "+
			"SESSION innodb_lock_wait_timeout = "+seconds)
	default:
		_, err = tx.ExecContext(ctx, "SET SESSION innodb_lock_wait_timeout = "+seconds)
	}
	return "", err
}

// ceil returns d in units, rounded up.
func ceil(d, unit time.Duration) int { return int((d + unit - 1) / unit) }

// classify turns the server's word for a lock that was not to be had into the caller's: the servers use the same codes
// for NOWAIT and for a timeout.
func (l *locker) classify(err error) error {
	switch {
	case final(err):
		return err
	case !sqlerr.Of(err).Has(sqlerr.LockBusy):
		return failed(err)
	case l.noWait:
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case l.timeout > 0, l.server.Is(nogap.Postgres):
		return fmt.Errorf("%w: %w", ErrLockTimeout, err)
	}
	// What is left is a limit of the server's own, MySQL's 50 seconds for example, and is retried.
	return failed(err)
}

// undo leaves nothing of the transaction behind in its session.
func (l *locker) undo(ctx context.Context, conn *sql.Conn) error {
	if err := l.settings.undo(ctx, conn); err != nil {
		return err
	}
	return l.locks.undo(ctx, conn)
}

// querier is a transaction or a connection.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// undos puts a session back as it was.
type undos []func(context.Context, querier) error

func (u *undos) exec(query string, args ...any) {
	*u = append(*u, func(ctx context.Context, q querier) error {
		_, err := q.ExecContext(ctx, query, args...)
		return err
	})
}

// undo does what is still to be done, last first, and keeps what failed. It goes on after the end of ctx, for a while.
func (u *undos) undo(ctx context.Context, q querier) error {
	if len(*u) == 0 {
		return nil // without a timer, which costs about as much as half a round trip
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	for len(*u) > 0 {
		last := len(*u) - 1
		if err := (*u)[last](ctx, q); err != nil {
			return fmt.Errorf("restoring the session: %w", err)
		}
		*u = (*u)[:last]
	}
	return nil
}
