package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// Row names one row of a table by its key.
type Row struct {
	// Table is the table's name, which may be qualified by a schema.
	Table string
	// Key is the value of the key column. If there are several it is a []any, or a type made of it such as atomic.Key,
	// with one value for each.
	Key any
	// KeyColumns are the columns that Key is compared with: "id" if there are none here. They must be unique together.
	KeyColumns []string
	// Columns are the columns to read: all of them if there are none here. The row type may be a scalar if there is one.
	Columns []string
}

// Rows names several rows of a table by their keys.
type Rows struct {
	Table      string   // as in Row
	Keys       []any    // each as in Row; one that is there twice is locked once
	KeyColumns []string // as in Row
	Columns    []string // as in Row
}

// WithRowLock locks a row and runs fn with it in the same transaction, which it then commits. Until then nobody else can
// write the row, or lock it, so that what fn decides from item holds when its writes are applied. All of these writes
// must go through tx.
//
// The row is read into a T: a struct by its `db` tags, where columns without a field and fields without a column are
// left alone; a map[string]any with the values as the driver has them; or a scalar, such as an int64, if the table or
// Row.Columns has one column. A row that does not exist is sql.ErrNoRows.
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx ends, the transaction is rolled back. fn's error
// comes back as it is. An error by which the server says that the transaction lost against another one (a deadlock, a
// serialization failure, a lost certification on Galera) is an exception, whether it comes from fn or from COMMIT: then
// fn is run again in a new transaction, with the row as it is now. So fn may run more than once, and should change
// nothing but the database. It must return the errors of tx, even if it could go on without that statement: MySQL has
// rolled back the whole transaction when it reports a deadlock.
//
// The ctx that fn is given is the caller's, and knows which rows are locked: with it, locking the same row again by any
// function of this package but LockRow is an error, not a hang. tx must not be used after fn has returned.
//
// Callers of one process that want the same row exclusively queue for it in the process, first come, first served; they
// hold no connection while they wait. "The same" means the same table name, key columns and key of the same *sql.DB.
//
// The error wraps nogap.ErrOutcomeUnknown if COMMIT may have been carried out although the connection was lost. After
// any other error nothing has been written.
func WithRowLock[T any](ctx context.Context, db *sql.DB, row Row, fn func(ctx context.Context, tx *sqlx.Tx, item *T) error, opts ...Option) error {
	if fn == nil {
		return failed(errNoCallback)
	}
	c, err := configure(opts)
	if err != nil {
		return failed(err)
	}
	t, err := tableOf(row.Table, row.KeyColumns, row.Columns)
	if err != nil {
		return failed(err)
	}
	k, err := t.key(row.Key)
	if err != nil {
		return failed(err)
	}
	h, err := newHold(ctx, db, c)
	if err != nil {
		return failed(err)
	}
	query := t.statement(h.server, h.clause)
	var item *T
	return h.run(ctx, []lock{t.lock(k)}, func(ctx context.Context, l *locker, tx *sqlx.Tx) (err error) {
		item, err = lockOne[T](ctx, l, tx, t, query, k)
		return err
	}, func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, tx, item) })
}

// WithRowLocks locks several rows of one table, as WithRowLock does one. Whatever the order of rows.Keys, it locks them
// one by one in the order of their values, as do all other callers, so that these can't deadlock among each other. For
// this the keys should have one type everywhere.
//
// fn gets the rows in the order of rows.Keys. A key that is there twice gives the same pointer twice. If one of the rows
// does not exist, WithRowLocks returns sql.ErrNoRows and does not run fn.
func WithRowLocks[T any](ctx context.Context, db *sql.DB, rows Rows, fn func(ctx context.Context, tx *sqlx.Tx, items []*T) error, opts ...Option) error {
	if fn == nil {
		return failed(errNoCallback)
	}
	c, err := configure(opts)
	if err != nil {
		return failed(err)
	}
	t, err := tableOf(rows.Table, rows.KeyColumns, rows.Columns)
	if err != nil {
		return failed(err)
	}
	asked, sorted, err := t.keys(rows.Keys)
	if err != nil {
		return failed(err)
	}
	h, err := newHold(ctx, db, c)
	if err != nil {
		return failed(err)
	}
	locks := make([]lock, len(sorted))
	for i, k := range sorted {
		locks[i] = t.lock(k)
	}
	query := t.statement(h.server, h.clause)
	var items []*T
	return h.run(ctx, locks, func(ctx context.Context, l *locker, tx *sqlx.Tx) error {
		found := make(map[string]*T, len(sorted))
		for _, k := range sorted {
			item, err := lockOne[T](ctx, l, tx, t, query, k)
			if err != nil {
				return err
			}
			found[k.text] = item
		}
		items = make([]*T, len(asked))
		for i, k := range asked {
			items[i] = found[k.text]
		}
		return nil
	}, func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, tx, items) })
}

// LockRow locks a row in the caller's own transaction, where it stays locked until the transaction ends, and returns it.
// T is as for WithRowLock. A row that does not exist is sql.ErrNoRows.
//
// Nothing is retried, because only the caller can run the whole transaction again; inside the callbacks of this package
// that happens if the callback returns the error. Of the options, Isolation, MaxAttempts and Backoff are refused. LockRow
// does not queue in the process, and uses no other connection than tx. Unless ctx comes from one of the callbacks or
// WithDialect is given, it asks the server what it is, in one more statement.
//
// After an error PostgreSQL accepts nothing but ROLLBACK, or ROLLBACK TO a savepoint that was there before. On SQLite,
// LockRow takes the write lock of the whole database and has to come before the first read of the transaction.
//
// Timeout ends with the call and does not reach the statements that follow. On MySQL it is a setting of the session that
// is put back after the statement. That can't be done if the context that the transaction was begun with ends at the
// same time, so begin it with another one than ctx if connections are shared with code that relies on the setting.
func LockRow[T any](ctx context.Context, tx *sqlx.Tx, row Row, opts ...Option) (*T, error) {
	if tx == nil {
		return nil, failed(errNoTx)
	}
	c, err := configure(opts, isolationOption, attemptsOption, backoffOption)
	if err != nil {
		return nil, failed(err)
	}
	t, err := tableOf(row.Table, row.KeyColumns, row.Columns)
	if err != nil {
		return nil, failed(err)
	}
	k, err := t.key(row.Key)
	if err != nil {
		return nil, failed(err)
	}
	server, err := serverOf(ctx, tx, c.dialect)
	if err != nil {
		return nil, failed(err)
	}
	clause, err := c.clause(server)
	if err != nil {
		return nil, failed(err)
	}
	l := &locker{config: &c, server: server, waited: new(time.Duration)}
	item, err := lockOne[T](ctx, l, tx, t, t.statement(server, clause), k)
	if undone := l.settings.undo(ctx, tx); err == nil {
		err = undone
	}
	if err != nil {
		return nil, txn.JoinContext(ctx, l.classify(err))
	}
	return item, nil
}

// lockOne locks and reads one row.
func lockOne[T any](ctx context.Context, l *locker, tx *sqlx.Tx, t *table, query dialect.Statement, k key) (*T, error) {
	var items []*T
	look := func(prefix string) (err error) {
		items, err = scanAll[T](ctx, tx, prefix+query.Text, query.Args(k.values))
		return err
	}
	err := l.do(ctx, tx, t.ident, look)
	if err == nil && len(items) == 0 && l.server.Is(nogap.Postgres) {
		// PostgreSQL waits for the row that was there when the statement began. If that one has been deleted, it does not
		// see another that was inserted in its place, by the same transaction for example.
		err = l.do(ctx, tx, t.ident, look)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%v: %w", t.lock(k), err)
	case len(items) == 0:
		return nil, fmt.Errorf("%v: %w", t.lock(k), sql.ErrNoRows)
	case len(items) > 1:
		return nil, fmt.Errorf("%v: the key is not unique, it has %d rows", t.lock(k), len(items))
	}
	return items[0], nil
}
