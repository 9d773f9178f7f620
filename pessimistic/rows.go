package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/internal/table"
)

// Rows names several rows of a table: by their keys, or by a condition.
type Rows struct {
	// Table is the table's name, as in Row.
	Table string
	// Keys are the keys of the rows, each as in Row. A row that is there twice is one. With Where there must be none.
	Keys []any
	// Where is the SQL condition of the rows, such as "order_id = $1 AND sent_at IS NULL". It becomes part of the SQL text
	// and must not contain input: use Args for values. It must be decided by columns of the row itself: PostgreSQL looks
	// again only at a row that has changed, not at other tables.
	Where string
	// Args are the values of the placeholders in Where, which are the database's own: $1, $2 … on PostgreSQL, ? on the
	// others.
	Args []any
	// Limit is how many rows Where may choose. If there are more, the error is ErrTooManyRows, and none of them is locked. Zero
	// means 1000: each row costs a round trip.
	Limit int
	// KeyColumns are the columns that identify a row, as in Row.
	KeyColumns []string
	// Columns are the columns to read, as in Row.
	Columns []string
}

// WithRowLocks locks several rows of one table and runs fn with them, as [WithRowLock] does with one. It locks the
// rows one by one in the order of their key values, whatever the order of rows.Keys is. All other callers do the
// same, so they can't deadlock among each other. For this the keys should have one type everywhere.
//
// fn gets the rows in the order of rows.Keys. A row whose key is there twice is the same pointer twice, even if its
// key is spelt in two ways that are one for the server: a uuid in capitals, another case under a collation that
// ignores case, "01" for the number 1. So compare the pointers, and not the keys, to see whether two rows are one. If
// one of the rows does not exist, WithRowLocks returns sql.ErrNoRows and does not run fn. See [WithRowLock] for the
// other errors and for the end of ctx.
//
// # Rows of a condition
//
// With rows.Where in the place of rows.Keys, WithRowLocks first reads the keys of the rows that the condition
// chooses, without a lock. If there are more than rows.Limit, it returns ErrTooManyRows. Then it locks the rows as
// above, and waits where somebody else has one. Under its lock it looks at each row again. A row that the condition
// no longer chooses, or that has been deleted, is left out. fn gets the others in the order of their keys, and an
// empty slice if there are none.
//
// Others may insert or change rows meanwhile, so that the condition would choose them now. These rows are not locked,
// and fn does not get them. If a decision depends on there being no such row, lock a row that all those who add rows
// lock as well, or use transaction.Serializable.
//
// The transaction has READ COMMITTED on MySQL and MariaDB, unless Isolation says otherwise: under REPEATABLE READ
// what fn reads could be older than its locks. Since the rows are not known before, callers of one process don't
// queue for them in the process: each waits in the server, with a connection. So fn must use tx for all that it does:
// a call on the pool could wait for a connection while those who wait for fn's rows have all of them. Give ctx a
// deadline, or use Timeout.
//
// A float in the key is an error, since it may not equal itself when it is sent back. So is a time on SQLite, where
// drivers write it in several ways.
func WithRowLocks[T any](ctx context.Context, db *sql.DB, rows Rows, fn func(ctx context.Context, tx *sqlx.Tx, items []*T) error, opts ...Option) error {
	if fn == nil {
		return fail(errNoCallback)
	}
	return withRows(ctx, "pessimistic.WithRowLocks", db, &rows, fn, opts)
}

// defaultLimit is the Limit of Rows that have none.
const defaultLimit = 1000

func (r *Rows) check() error {
	switch {
	case r.Where != "" && len(r.Keys) > 0:
		return errors.New("there are Keys and Where, of which only one can choose the rows")
	case r.Where == "" && len(r.Args) > 0:
		return errors.New("there are Args, but no Where to use them")
	case r.Where == "" && r.Limit != 0:
		return errors.New("there is a Limit, but no Where whose rows it could bound")
	case r.Limit < 0 || r.Limit == math.MaxInt:
		return fmt.Errorf("the Limit %d of the rows is out of range", r.Limit)
	}
	return nil
}

// limit returns how many rows may be chosen.
func (r *Rows) limit() int {
	if r.Limit == 0 {
		return defaultLimit
	}
	return r.Limit
}

// in returns what is to be locked in a table that has the names of the rows.
func (r *Rows) in(t *table.Table, q *selects) (*wanted, error) {
	w := &wanted{Rows: r, table: t, selects: q}
	if r.Where != "" {
		return w, nil
	}
	var err error
	w.locks, w.at, err = rowLocks(t, r.Keys)
	return w, err
}

// wanted are the rows that a call wants to lock.
type wanted struct {
	*Rows
	table   *table.Table
	selects *selects
	clause  string // that locks a row

	locks []*lock // of the keys; none with Where
	at    []int   // see rowLocks
}

// first is what the errors name before the first lock is taken.
func (w *wanted) first() *lock {
	if len(w.locks) > 0 {
		return w.locks[0]
	}
	return &lock{table: w.table.Name.String()} // which rows it will be nobody knows
}
