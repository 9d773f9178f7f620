package pessimistic

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
)

// Row names one row of a table by its key.
type Row struct {
	// Table is the table's name, which may be qualified by a schema.
	Table string
	// Key is the value of the key column. If there are several it is a nogap.Key, or another []any, with one value for
	// each.
	Key any
	// KeyColumns are the columns that Key is compared with: "id" if there are none here. They must be unique together.
	KeyColumns []string
	// Columns are the columns to read. If there are none here, they are those of the fields of a struct, or else all of
	// them. The row type may be a scalar if there is one.
	Columns []string
}

// WithRowLock locks a row and runs fn with it in the same transaction, which it then commits. Until the transaction
// ends, nobody else can write the row or lock it. So what fn decides from item still holds when its writes are
// applied. All of these writes must go through tx. The calls of other packages of nogap do with WithTx(tx).
//
// The row is read into a T: a struct, or a map[string]any with the driver's values. If the table or Row.Columns has
// one column, T may also be a scalar such as an int64. Of a struct, the columns are read that its fields name by
// their `db` tags, as for sqlx. A column without a field is left alone. A field without a column, or without one
// among Row.Columns, is an error, unless it is tagged `db:"-"`.
//
// # The callback
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx ends, the transaction is rolled back. fn's error
// is returned as it is.
//
// There is one exception: an error by which the server says that the transaction lost against another one (a
// deadlock, a serialization failure, a lost certification on Galera), whether it comes from fn or from COMMIT. Then
// fn is run again in a new transaction, with the row as it is now. So is it after an error by which the server says
// that a table was altered after a statement had been prepared. So fn may run more than once, and must change nothing
// but the database. It must return the errors of tx, even if it could go on without that statement: MySQL has rolled
// back the whole transaction when it reports a deadlock.
//
// The ctx that fn is given comes from the caller's, and knows which rows are locked. A call of any package of nogap
// that is given it, and would wait for one of these rows over another connection, returns an error at once. Use
// LockRow and WithTx with tx. tx must not be used after fn has returned.
//
// fn must not end the transaction, since that would also end the lock: no COMMIT, no ROLLBACK, and on MySQL and
// MariaDB no statement that commits, such as CREATE TABLE. If it does, the error wraps nogap.ErrOutcomeUnknown,
// whatever fn returns, since what was written before may be stored. This is seen with pgx, lib/pq, go-sql-driver and
// SQLite, unless fn begins another transaction or the driver is wrapped by another one. After tx.Rollback, which does
// no harm, fn's error is returned as it is.
//
// # The queue
//
// Callers of one process that want the same row exclusively queue for it in the process, in the order of their
// arrival. They hold no connection while they wait. The same row means the same table name, key columns and key of
// the same *sql.DB.
//
// # Errors and contexts
//
//   - sql.ErrNoRows is returned, wrapped, when no row has the key, and nogap.ErrNotUnique when several rows have it.
//   - A *LockError with ErrLocked is returned when the lock is held and NoWait is given.
//   - A *LockError with ErrLockTimeout is returned when the lock was not acquired in time. ErrLockTimeout without a
//     *LockError is returned when a statement of fn waited too long for a lock. fn is not run again after either.
//   - ErrRetriesExhausted is returned when MaxAttempts transactions lost against others.
//   - nogap.ErrOutcomeUnknown is returned when COMMIT may have been carried out although its answer did not come.
//
// After any error but the last nothing was written. When ctx ends, WithRowLock stops waiting for the lock, cancels a
// statement that is under way, rolls back and returns ctx's error. It waits for a COMMIT that is under way for up to
// one second, and returns nil if that succeeds.
func WithRowLock[T any](ctx context.Context, db *sql.DB, row Row, fn func(ctx context.Context, tx *sqlx.Tx, item *T) error, opts ...Option) error {
	if fn == nil {
		return fail(errNoCallback)
	}
	one := func(ctx context.Context, tx *sqlx.Tx, items []*T) error { return fn(ctx, tx, items[0]) }
	return withRows(ctx, "pessimistic.WithRowLock", db, row.rows(), one, opts)
}

func (r Row) rows() *Rows {
	return &Rows{Table: r.Table, Keys: []any{r.Key}, KeyColumns: r.KeyColumns, Columns: r.Columns}
}
