// Package lockwait bounds how long a statement of a transaction waits for locks, and puts the session back as it was.
package lockwait

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Longest is the longest wait that every server can be told: PostgreSQL counts milliseconds in 32 bits.
const Longest = math.MaxInt32 * time.Millisecond

// Bound is how long one statement waits.
type Bound struct {
	Prefix string    // stands before the statement
	until  time.Time // when the server may have ended it as a whole; zero if it does not
}

// Limit makes the next statement of a transaction wait for locks no longer than d, or as short as the server can if d is 0. More than
// Longest is that. What puts the settings back as they were is added to u, if it is empty. SQLite's wait has another bound.
func Limit(ctx context.Context, q Querier, s dialect.Server, d time.Duration, u *Undos) (b Bound, err error) {
	first := len(*u) == 0
	d = min(d, Longest)
	switch s.LockLimit {
	case dialect.LocalLimit:
		// SET LOCAL takes no parameters; set_config does the same.
		const set = "set_config('lock_timeout', $1, true)"
		var before, now string
		ms := strconv.Itoa(max(1, Ceil(d, time.Millisecond))) // 0 is no limit
		err = q.QueryRowContext(ctx, "SELECT current_setting('lock_timeout'), "+set, ms).Scan(&before, &now)
		if err == nil && first {
			u.Exec("SELECT "+set, before)
		}
	case dialect.StatementLimit:
		// InnoDB counts in seconds, and would give up sooner if its own limit were lower.
		b.Prefix = "SET STATEMENT innodb_lock_wait_timeout = " + strconv.Itoa(Ceil(d, time.Second))
		if d > 0 {
			b.Prefix += fmt.Sprintf(", max_statement_time = %f", d.Seconds())
			b.until = time.Now().Add(d)
		}
		b.Prefix += " FOR "
	case dialect.SessionLimit:
		set := "SESSION innodb_lock_wait_timeout = " + strconv.Itoa(max(1, Ceil(d, time.Second)))
		if first {
			u.Exec("SET SESSION innodb_lock_wait_timeout = @nogap_lock_wait_timeout")
			set = "@nogap_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout, " + set
		}
		_, err = q.ExecContext(ctx, "SET "+set)
	}
	return b, err
}

// Explain returns the error of the statement. If the server has ended the whole statement, since its wait took too long, the
// error is wrapped in nogap.ErrLockTimeout.
func (b Bound) Explain(err error) error {
	if sqlerr.Of(err).Has(sqlerr.Canceled) && !b.until.IsZero() && !time.Now().Before(b.until) {
		return fmt.Errorf("%w: %w", nogap.ErrLockTimeout, err)
	}
	return err
}

// Ceil returns d in units, rounded up.
func Ceil(d, unit time.Duration) int { return int((d + unit - 1) / unit) }
