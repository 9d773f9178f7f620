package pessimistic

import (
	"context"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// LockRow locks a row in tx, a transaction of the caller's, where it stays locked until the transaction ends, and returns
// it. T is as for WithRowLock. A row that does not exist is sql.ErrNoRows.
//
// tx is any nogap.Tx, with any SQL library. What is no transaction is an error before anything is sent. Types whose name
// does not say that they are one, such as a *sql.Conn, first prove it by SAVEPOINT and RELEASE SAVEPOINT.
//
// Nothing is retried, because only the caller can run the whole transaction again; inside the callbacks of this package
// that happens if the callback returns the error. Isolation, MaxAttempts, Backoff and Before are not options of LockRow.
// LockRow does not queue in the process, and uses no other connection than that of tx. Unless ctx comes from one of the callbacks
// or WithDialect is given, it asks the server what it is, in one more statement; and in one more what the table is, if it is
// the first on the *sql.DB or the type of tx does not tell to which one it belongs.
//
// After an error PostgreSQL accepts nothing but ROLLBACK, or ROLLBACK TO a savepoint that was there before. On SQLite,
// LockRow takes the write lock of the whole database and has to come before the first read of the transaction.
//
// Timeout ends with the call and does not reach the statements that follow. On MySQL it is a setting of the session that
// is put back after the statement. That can't be done if the context that the transaction was begun with ends at the
// same time, so begin it with another one than ctx if connections are shared with code that relies on the setting.
func LockRow[T any](ctx context.Context, tx nogap.Tx, row Row, opts ...Option) (item *T, err error) {
	c, given, err := configure(opts)
	if err == nil {
		err = given.Refuse("LockRow", "Isolation", "MaxAttempts", "Backoff", "Before")
	}
	if err == nil {
		err = txn.CheckTx(tx)
	}
	if err != nil {
		return nil, fail(err)
	}
	n := names{row.Table, row.KeyColumns, row.Columns, rowTypeOf[T](mapperOf(tx))}
	t, selects, err := n.ofTx(ctx, tx)
	if err != nil {
		return nil, fail(err)
	}
	err = t.Operation(ctx, "pessimistic.LockRow", func(ctx context.Context, op *observe.Op) error {
		item, err = lockRow[T](ctx, op, tx, t, selects, row.Key, &c)
		return fail(txn.JoinContext(ctx, err))
	})
	return item, err
}

func lockRow[T any](
	ctx context.Context, op *observe.Op, tx nogap.Tx, t *table.Table, selects *selects, key any, c *config,
) (*T, error) {
	l, err := rowLock(t, key)
	if err != nil {
		return nil, err
	}
	server, err := serverOfTx(ctx, tx, c.Dialect)
	if err != nil {
		return nil, err
	}
	clause, err := c.clause(server)
	if err != nil {
		return nil, err
	}
	if err := holding.CheckIn(ctx, tx, c.mode.Exclusive(), l.Lock); err != nil {
		return nil, l.failed(err)
	}
	if err := txn.ProveTx(ctx, tx, server); err != nil {
		return nil, err
	}
	if err := txn.CheckAbortsIn(ctx, txn.DBOf(tx), tx, server); err != nil {
		return nil, err
	}
	op.Attempt(1)
	s := &session{config: c, server: server, waited: &waited{op: op}, tx: tx}
	item, err := lockOne[T](ctx, s, t, selects, selects.one(server, t, clause), l)
	if undone := s.settings.undo(ctx, tx); err == nil {
		err = undone
	}
	if err == nil {
		err = t.CheckLockable(ctx, txn.In(tx), server)
	}
	if err != nil {
		return nil, err
	}
	holding.Add(ctx, tx, c.mode.Exclusive(), l.Lock)
	return item, nil
}
