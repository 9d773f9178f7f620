package gate

import (
	"context"
	"database/sql/driver"
)

// tx is a transaction whose end is a step.
type tx struct {
	inner    driver.Tx
	conn     *conn
	ctx      context.Context // that of BeginTx, without its end: the methods below get none
	readOnly bool
}

func (t *tx) Commit() error { return t.end(Commit, t.commit) }

func (t *tx) Rollback() error { return t.end(Rollback, t.inner.Rollback) }

func (t *tx) end(k Kind, send func() error) error {
	sent := false
	err := t.conn.step(t.ctx, t.conn.statement(k, "", nil), func() Result {
		sent = true
		return Result{Err: send()}
	})
	if err != nil {
		// database/sql takes the connection back whatever the error is, so it has to be free of the transaction.
		if !sent || t.byStatement() {
			t.inner.Rollback()
		}
		t.conn.session.inTx.Store(false)
	}
	return err
}

// byStatement reports whether COMMIT is sent as a statement. If another connection holds the lock, SQLite leaves the transaction
// open, and COMMIT can be done again. But its drivers roll back before their Commit returns. A transaction that only reads waits for
// nobody, and a driver may have settings to undo at its end.
func (t *tx) byStatement() bool { return t.conn.session.sqlite && !t.readOnly }

func (t *tx) commit() error {
	if !t.byStatement() {
		return t.inner.Commit()
	}
	_, err := connExec(t.ctx, t.conn.inner, "COMMIT", nil)
	if err == driver.ErrSkip {
		return t.inner.Commit()
	}
	return err
}
