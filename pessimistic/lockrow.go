package pessimistic

import (
	"context"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// LockRow locks a row in tx, a transaction of the caller's, and returns it. The row stays locked until the
// transaction ends. T is as for [WithRowLock].
//
//   - sql.ErrNoRows is returned, wrapped, when no row has the key, and nogap.ErrNotUnique when several rows have it.
//   - A *LockError with ErrLocked or ErrLockTimeout is returned when the lock was not acquired at once or in time.
//   - Any other error is the server's or the driver's. If nogap.Retryable is true for it, the whole transaction may be
//     run again.
//
// When ctx ends, LockRow stops waiting for the lock and returns ctx's error.
//
// tx is any nogap.Tx, with any SQL library. What is no transaction is an error before anything is sent. Types whose
// name does not say that they are one, such as a *sql.Conn, first prove it by SAVEPOINT and RELEASE SAVEPOINT.
//
// Nothing is tried again, because only the caller can run the whole transaction again. Inside the callbacks of this
// package that happens if the callback returns the error. Isolation, MaxAttempts, Backoff and Before are not options
// of LockRow. LockRow does not queue in the process, and uses no other connection than that of tx. Unless ctx comes
// from one of the callbacks or WithDialect is given, it asks the server what it is, in one more statement. It asks
// what the table is in one more statement, if it is the first call on the *sql.DB or if the type of tx does not tell
// its *sql.DB.
//
// After an error PostgreSQL accepts nothing but ROLLBACK, or ROLLBACK TO a savepoint that was there before. On
// SQLite, LockRow takes the write lock of the whole database and has to come before the first read of the
// transaction.
//
// Timeout ends with the call and has no effect on the statements that follow. On MySQL it is a setting of the session
// that is put back after the statement. That can't be done if the context with which the transaction was begun ends
// at the same time. So begin the transaction with another context than ctx if its connections are shared with code
// that relies on the setting.
func LockRow[T any](ctx context.Context, tx nogap.Tx, row Row, opts ...Option) (item *T, err error) {
	items, err := lockInTx[T](ctx, "LockRow", tx, row.rows(), opts)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// LockRows locks several rows in tx, as [LockRow] does one, with the same errors and the same end of ctx. It returns
// the rows as WithRowLocks gives them to its callback. rows.Keys are locked in the order of their values, and
// returned in their own order. rows.Where chooses rows, and an empty slice is returned if it chooses none. Then tx
// should have READ COMMITTED: under REPEATABLE READ the rows are chosen as they were when the transaction began to
// read.
//
// Transactions that call LockRows don't deadlock among themselves if each calls it once, for all rows that it locks.
//
// If one of the rows can't be locked, others may be locked already. They are free again after ROLLBACK, or after
// ROLLBACK TO a savepoint that was there before, except that MySQL and MariaDB keep them locked until the transaction
// ends.
func LockRows[T any](ctx context.Context, tx nogap.Tx, rows Rows, opts ...Option) (items []*T, err error) {
	return lockInTx[T](ctx, "LockRows", tx, &rows, opts)
}

// lockInTx locks rows in the caller's transaction and returns them. call is the name of the public function.
func lockInTx[T any](ctx context.Context, call string, tx nogap.Tx, rows *Rows, opts []Option) (items []*T, err error) {
	c, given, err := configure(opts)
	if err == nil {
		err = given.Refuse(call, "Isolation", "MaxAttempts", "Backoff", "Before")
	}
	if err == nil {
		err = rows.check()
	}
	if err == nil {
		err = txn.CheckTx(tx)
	}
	if err != nil {
		return nil, fail(err)
	}
	n := names{rows.Table, rows.KeyColumns, rows.Columns, rowTypeOf[T](mapperOf(tx))}
	t, selects, err := n.ofTx(ctx, tx)
	if err != nil {
		return nil, fail(err)
	}
	err = t.Operation(ctx, "pessimistic."+call, func(ctx context.Context, op *observe.Op) error {
		w, err := rows.in(t, selects)
		if err == nil {
			items, err = lockWanted[T](ctx, op, tx, w, &c)
		}
		return fail(txn.JoinContext(ctx, err))
	})
	return items, err
}

func lockWanted[T any](ctx context.Context, op *observe.Op, tx nogap.Tx, w *wanted, c *config) ([]*T, error) {
	server, err := serverOfTx(ctx, tx, c.Dialect)
	if err != nil {
		return nil, err
	}
	if w.clause, err = c.clause(server); err != nil {
		return nil, err
	}
	s := &session{config: c, server: server, waited: &waited{op: op}, tx: tx}
	if err := w.checkFree(ctx, s, w.locks); err != nil {
		return nil, err
	}
	if err := txn.ProveTx(ctx, tx, server); err != nil {
		return nil, err
	}
	if err := txn.CheckAbortsIn(ctx, txn.DBOf(tx), tx, server); err != nil {
		return nil, err
	}
	op.Attempt(1)
	items, held, err := lockRows[T](ctx, s, w)
	s.hold(ctx, held) // the caller may go on after an error
	if undone := s.settings.Undo(ctx, tx); err == nil {
		err = undone
	}
	if err == nil {
		err = w.table.CheckLockable(ctx, txn.In(tx), server)
	}
	if err != nil {
		return nil, err
	}
	return items, nil
}
