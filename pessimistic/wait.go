package pessimistic

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// waitFor runs a statement that takes a lock, so that it waits no longer than what is left of the timeout. query is given
// what to put in front of its statement.
func (s *session) waitFor(ctx context.Context, l lock, table dialect.Ident, query func(prefix string) error) error {
	if !s.server.RowLocks {
		if err := s.writeLock(ctx, table); err != nil {
			return s.explain(l, err)
		}
		return s.explain(l, query(""))
	}
	prefix, left := "", time.Duration(0)
	if s.timeout > 0 {
		var err error
		if left, err = s.left(); err == nil {
			prefix, err = s.limit(ctx, left)
		}
		if err != nil {
			return s.explain(l, err)
		}
	}
	start := time.Now()
	err := query(prefix)
	took := s.waited.since(start)
	switch m := sqlerr.Of(err); {
	case s.server.LocalSettings && m.Has(sqlerr.Server):
		s.settings = nil // they belong to the transaction, which has failed and accepts no statement
	case s.server.LockLimit == dialect.StatementLimit && s.timeout > 0 && m.Has(sqlerr.Canceled) && took >= left:
		err = fmt.Errorf("%w: %w", ErrLockTimeout, err) // max_statement_time, see limit
	}
	return s.explain(l, err)
}

// limit makes the next statement wait for locks no longer than d.
func (s *session) limit(ctx context.Context, d time.Duration) (prefix string, err error) {
	seconds := strconv.Itoa(ceil(d, time.Second))
	first := len(s.settings) == 0
	switch {
	case s.server.LockLimit == dialect.LocalLimit:
		// SET LOCAL takes no parameters; set_config does the same.
		const set = "set_config('lock_timeout', $1, true)"
		var before, now string
		err = s.tx.QueryRowContext(ctx, "SELECT current_setting('lock_timeout'), "+set, strconv.Itoa(ceil(d, time.Millisecond))).
			Scan(&before, &now)
		if err == nil && first {
			s.settings.exec("SELECT "+set, before)
		}
	case s.server.LockLimit == dialect.StatementLimit:
		// InnoDB counts in seconds, and would give up sooner if its own limit were lower.
		return fmt.Sprintf("SET STATEMENT innodb_lock_wait_timeout = %s, max_statement_time = %f FOR ", seconds, d.Seconds()), nil
	case first:
		s.settings.exec("SET SESSION innodb_lock_wait_timeout = @nogap_lock_wait_timeout")
		_, err = s.tx.ExecContext(ctx, "SET @nogap_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout, "+
			"SESSION innodb_lock_wait_timeout = "+seconds)
	default:
		_, err = s.tx.ExecContext(ctx, "SET SESSION innodb_lock_wait_timeout = "+seconds)
	}
	return "", err
}
