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

// WithRowLock locks a row and runs fn with it in the same transaction, which it then commits. Until then nobody else can
// write the row, or lock it, so that what fn decides from item holds when its writes are applied. All of these writes
// must go through tx. The calls of other packages of nogap do with WithTx(tx).
//
// The row is read into a T: a struct, a map[string]any with the values as the driver has them, or a scalar, such as an
// int64, if the table or Row.Columns has one column. Of a struct, the columns are read that its fields name by their `db`
// tags, as for sqlx; a column without a field is left alone. A field without a column, or without one among Row.Columns, is
// an error, unless it is tagged `db:"-"`. A row that does not exist is sql.ErrNoRows. If several rows have the key, the
// error is nogap.ErrNotUnique.
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx ends, the transaction is rolled back. fn's error
// comes back as it is. An error by which the server says that the transaction lost against another one (a deadlock, a
// serialization failure, a lost certification on Galera) is an exception, whether it comes from fn or from COMMIT: then
// fn is run again in a new transaction, with the row as it is now. So is the error by which it says that a table was
// altered after one of the statements had been prepared. So fn may run more than once, and should change nothing but the
// database. It must return the errors of tx, even if it could go on without that statement: MySQL has rolled back the
// whole transaction when it reports a deadlock. An error by which the server says that a statement of fn has waited too
// long for a lock is wrapped with ErrLockTimeout; fn is not run again.
//
// The ctx that fn is given is the caller's, and knows which rows are locked: with it, a call of any package of nogap that
// would wait for one of these rows over another connection is an error at once. Use LockRow and WithTx with tx. tx must
// not be used after fn has returned.
//
// fn must not end the transaction, since that also gives the lock away: no COMMIT, no ROLLBACK, and on MySQL and MariaDB no
// statement that commits, such as CREATE TABLE. If it does, the error wraps nogap.ErrOutcomeUnknown, whatever fn returns:
// what was written before may stand. This is seen with pgx, lib/pq, go-sql-driver and SQLite, unless fn begins another
// transaction or the driver is wrapped by another one. fn's error comes back as it is after tx.Rollback, which is harmless.
//
// Callers of one process that want the same row exclusively queue for it in the process, first come, first served; they
// hold no connection while they wait. "The same" means the same table name, key columns and key of the same *sql.DB.
//
// A lock that is not acquired in time, or with NoWait at once, is a *LockError. The error wraps nogap.ErrOutcomeUnknown if
// COMMIT may have been carried out although the connection was lost. After any other error nothing has been written.
func WithRowLock[T any](ctx context.Context, db *sql.DB, row Row, fn func(ctx context.Context, tx *sqlx.Tx, item *T) error, opts ...Option) error {
	if fn == nil {
		return fail(errNoCallback)
	}
	rows := &Rows{Table: row.Table, Keys: []any{row.Key}, KeyColumns: row.KeyColumns, Columns: row.Columns}
	one := func(ctx context.Context, tx *sqlx.Tx, items []*T) error { return fn(ctx, tx, items[0]) }
	return withRows(ctx, "pessimistic.WithRowLock", db, rows, one, opts)
}
