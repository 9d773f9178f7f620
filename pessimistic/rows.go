package pessimistic

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
)

// Rows names several rows of a table by their keys.
type Rows struct {
	Table      string   // as in Row
	Keys       []any    // each as in Row; a row that is there twice is one
	KeyColumns []string // as in Row
	Columns    []string // as in Row
}

// WithRowLocks locks several rows of one table, as WithRowLock does one. Whatever the order of rows.Keys, it locks them
// one by one in the order of their values, as do all other callers, so that these can't deadlock among each other. For
// this the keys should have one type everywhere.
//
// fn gets the rows in the order of rows.Keys. A row whose key is there twice is the same pointer twice, also if its key is
// spelt in two ways that are one for the server: a uuid in capitals, another case under a collation that ignores case, "01"
// for the number 1. So compare the pointers, and not the keys, to see whether two rows are one. If one of the rows
// does not exist, WithRowLocks returns sql.ErrNoRows and does not run fn.
func WithRowLocks[T any](ctx context.Context, db *sql.DB, rows Rows, fn func(ctx context.Context, tx *sqlx.Tx, items []*T) error, opts ...Option) error {
	if fn == nil {
		return fail(errNoCallback)
	}
	return withRows(ctx, "pessimistic.WithRowLocks", db, &rows, fn, opts)
}
