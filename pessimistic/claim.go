package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
)

// Queue names the next rows of a table that is used as a queue.
type Queue struct {
	// Table is the table's name, which may be qualified by a schema.
	Table string
	// Where is the SQL condition of the rows that are still to be done, such as "done_at IS NULL"; every row if it is
	// empty. It becomes part of the SQL text and must not contain input: use Args for values. It must be decided by
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
	// Columns are the columns to read, as in Row.
	Columns []string
}

// Claim locks the next rows of a queue that nobody else has locked, and runs fn with them in the same transaction,
// which it then commits. fn does the work and marks the rows themselves as done, so that Queue.Where does not choose
// them again, or deletes them. If a worker fails, panics or dies, its transaction is rolled back and its rows are
// free again. So each row is done once.
//
// Callers never wait for one another's rows and never get the same ones (SKIP LOCKED). SQLite has no locked rows: one
// caller at a time claims anything there. Servers without SKIP LOCKED are refused with an error: TiDB, MySQL before
// 8.0 and MariaDB before 10.6.
//
// MySQL and MariaDB lock what they read in order to sort it. An index must have the rows in the order of
// Queue.OrderBy there. Otherwise the first caller holds the whole queue and the others find nothing to claim. The
// transaction has READ COMMITTED there, unless Isolation says otherwise: under REPEATABLE READ it would also lock the
// rows and the gaps that it passes over, and those who insert there would wait.
//
// If fn calls nogap on the pool for one of its rows, that call returns an error at once, as in WithRowLock, if T is a
// struct with a field for the column "id". Otherwise it waits until its context ends.
//
// Claim returns sql.ErrNoRows, and does not run fn, if there is nothing to do that somebody else has not claimed. See
// [WithRowLock] for the other errors, for the end of ctx and for all else. NoWait, Timeout, ForShare and ForKeyShare
// are not options of Claim.
func Claim[T any](ctx context.Context, db *sql.DB, queue Queue, fn func(ctx context.Context, tx *sqlx.Tx, jobs []*T) error, opts ...Option) error {
	if fn == nil {
		return fail(errNoCallback)
	}
	c, given, err := configure(opts)
	if err == nil {
		err = given.Refuse("Claim", "NoWait", "Timeout", "ForShare", "ForKeyShare")
	}
	if err == nil {
		err = queue.check()
	}
	if err != nil {
		return fail(err)
	}
	t, selects, err := names{table: queue.Table, columns: queue.Columns, row: rowTypeOf[T](fields.Mapper())}.in(db)
	if err != nil {
		return fail(err)
	}
	return t.Operation(ctx, "pessimistic.Claim", func(ctx context.Context, op *observe.Op) error {
		s, err := newSection(ctx, op, db, c)
		if err != nil {
			return fail(err)
		}
		clause, err := skipLocked(s.server, c.mode)
		if err != nil {
			return fail(err)
		}
		if s.server.GapLocks && !given.Has("Isolation") {
			s.Isolation = sql.LevelReadCommitted
		}
		query := selects.from(s.server, t, false) + queue.end(clause)
		var jobs []*T
		s.table, s.what = t, &lock{table: t.Name.String()} // which rows it will be nobody knows
		s.acquire = func(ctx context.Context, inServer *session) (err error) {
			if jobs, err = claimRows[T](ctx, inServer, s.what, t, selects, query, queue.Args); err == nil {
				inServer.hold(ctx, locksOf(t, selects, jobs))
			}
			return err
		}
		s.callback = func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, tx, jobs) }
		return s.run(ctx)
	})
}

// skipLocked returns the end of a SELECT that locks the rows that nobody else has locked. Who holds the write lock of the
// whole database has nothing to skip.
func skipLocked(s dialect.Server, mode dialect.LockMode) (clause string, err error) {
	if clause, err = s.LockClause(mode, dialect.Wait); err == nil && s.RowLocks {
		clause, err = s.LockClause(mode, dialect.SkipLocked)
	}
	if err != nil {
		return "", fmt.Errorf("Claim: %w", err)
	}
	return clause, nil
}

// claimRows locks and reads the next rows.
func claimRows[T any](
	ctx context.Context, s *session, l *lock, t *table.Table, q *selects, query string, args []any,
) (jobs []*T, err error) {
	err = s.waitFor(ctx, l, t.Name, func(prefix string) (err error) {
		jobs, _, err = scanAll[T](ctx, s.tx, q, 0, prefix+query, args)
		return err
	})
	if err == nil && len(jobs) == 0 {
		err = l.failed(fmt.Errorf("there is nothing to claim: %w", sql.ErrNoRows))
	}
	return jobs, err
}

// locksOf returns the locks of jobs, of those whose keys are among what was read.
func locksOf[T any](t *table.Table, q *selects, jobs []*T) (locks []*lock) {
	for _, job := range jobs {
		if key, ok := q.keyOf(job, t.Key); ok {
			locks = append(locks, &lock{Lock: t.Lock(key), table: t.Name.String(), key: key})
		}
	}
	return locks
}

func (q Queue) check() error {
	switch {
	case q.Limit < 1:
		return fmt.Errorf("the queue's Limit %d is less than 1", q.Limit)
	case q.Where == "" && len(q.Args) > 0:
		return errors.New("there are Args, but no Where to use them")
	}
	return nil
}

// end returns what stands behind the table in the SELECT of the next rows.
func (q Queue) end(clause string) (s string) {
	if q.Where != "" {
		s += condition(q.Where)
	}
	if q.OrderBy != "" {
		s += " ORDER BY " + q.OrderBy + "\n"
	}
	return s + " LIMIT " + strconv.Itoa(q.Limit) + clause
}
