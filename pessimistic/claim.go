package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/internal/dialect"
)

// Queue names the next rows of a table that is used as a queue.
type Queue struct {
	// Table is the table's name, which may be qualified by a schema.
	Table string
	// Where is the SQL condition of the rows that are still to be done, such as "done_at IS NULL"; every row if it is
	// empty. It is sent as it is, so it must not hold anybody's input: that belongs in Args. It must be decided by
	// columns of the row itself: PostgreSQL looks again only at a row that has changed, not at other tables.
	Where string
	// Args are the values of the placeholders in Where, which are the database's own: $1, $2 … on PostgreSQL, ? on the
	// others.
	Args []any
	// OrderBy is the SQL list of columns to order by, such as "priority DESC, id"; no order if it is empty. It is sent as
	// it is.
	OrderBy string
	// Limit is how many rows to take at most.
	Limit int
	// Columns are the columns to read: all of them if there are none here.
	Columns []string
}

// Claim locks the next rows of a queue that nobody else has locked, and runs fn with them in the same transaction, which
// it then commits. fn does the work and marks the rows themselves as done, so that Queue.Where does not find them again,
// or deletes them. A worker that fails, panics or dies gives its rows back by its rollback: each row is done once.
//
// Callers never wait for one another's rows and never get the same ones (SKIP LOCKED). On SQLite, which knows no locked
// rows, one caller at a time claims anything; it is refused on servers without SKIP LOCKED, which are TiDB, MySQL before
// 8.0 and MariaDB before 10.6.
//
// MySQL and MariaDB lock what they read in order to sort it. An index must have the rows in the order of Queue.OrderBy
// there, or the first caller holds the whole queue and the others find nothing to claim. The transaction has READ
// COMMITTED there, unless Isolation says otherwise: under REPEATABLE READ it would also lock the rows and the gaps that it
// passes over, and those who insert there would wait.
//
// Claim returns sql.ErrNoRows, and does not run fn, if there is nothing to do that somebody else has not claimed. All
// else is as for WithRowLock; of the options, NoWait, Timeout and the modes ForShare and ForKeyShare make no sense.
func Claim[T any](ctx context.Context, db *sql.DB, queue Queue, fn func(ctx context.Context, tx *sqlx.Tx, jobs []*T) error, opts ...Option) error {
	if fn == nil {
		return failed(errNoCallback)
	}
	c, err := configure(opts, noWaitOption, timeoutOption)
	if err != nil {
		return failed(err)
	}
	if !c.mode.Exclusive() {
		return failed(fmt.Errorf("%s does not keep other callers from the same rows", modeNames[c.mode]))
	}
	q, err := queue.parse()
	if err != nil {
		return failed(err)
	}
	c.skipLocked = true
	h, err := newHold(ctx, db, c)
	if err != nil {
		return failed(err)
	}
	if h.server.IsMySQL() && !slices.Contains(c.given, isolationOption) {
		h.isolation = sql.LevelReadCommitted
	}
	query := q.statement(h.server, h.clause)
	var jobs []*T
	lock := func(ctx context.Context, l *locker, tx *sqlx.Tx) error {
		err := l.do(ctx, tx, q.table, func(prefix string) (err error) {
			jobs, err = scanAll[T](ctx, tx, prefix+query, queue.Args)
			return err
		})
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", q.table, err)
		case len(jobs) == 0:
			return fmt.Errorf("%s has nothing to claim: %w", q.table, sql.ErrNoRows)
		}
		return nil
	}
	return h.run(ctx, nil, lock, func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, tx, jobs) })
}

// queue is a validated Queue.
type queue struct {
	Queue
	table   dialect.Ident
	columns []dialect.Ident
}

func (q Queue) parse() (p queue, err error) {
	p.Queue = q
	if p.table, err = dialect.Table(q.Table); err != nil {
		return queue{}, err
	}
	if p.columns, err = dialect.Columns(q.Columns...); err != nil {
		return queue{}, err
	}
	if q.Limit < 1 {
		return queue{}, fmt.Errorf("the queue's Limit %d is less than 1", q.Limit)
	}
	if q.Where == "" && len(q.Args) > 0 {
		return queue{}, errors.New("there are Args, but no Where to use them")
	}
	return p, nil
}

func (q queue) statement(s dialect.Server, clause string) string {
	columns := "*"
	if len(q.columns) > 0 {
		columns = s.QuoteAll(q.columns)
	}
	query := "SELECT " + columns + " FROM " + s.Quote(q.table)
	if q.Where != "" {
		query += " WHERE (" + q.Where + "\n)" // a comment at its end must not swallow the rest
	}
	if q.OrderBy != "" {
		query += " ORDER BY " + q.OrderBy + "\n"
	}
	return query + " LIMIT " + strconv.Itoa(q.Limit) + clause
}
