package optimistic

import (
	"context"
	"errors"
	"reflect"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// Modify loads the row with these key values, lets fn change it, and writes it back if nobody else wrote it in between.
// If somebody did, it starts again with the row as it is then, until it wins, MaxAttempts is reached or ctx ends. It
// returns the item as fn left it, with its new version. If the server changes a value, by rounding it or in a trigger,
// the item does not have the changed value: Get returns it.
//
// If fn changes no column that Update writes, nothing is written: no UPDATE is sent, and the row and the returned item keep
// the version that was read. Somebody else may have written the row since then, and it may even be gone. Two values are the
// same if the driver is given the same: the result of a Value method, the bytes of a slice, the instant of a time and its
// zone. A value that only the driver understands counts as changed. To count the version up without a change, use Update.
//
// fn may be called several times, each time with a freshly loaded item, so it changes the item and nothing else. If it
// returns an error, Modify returns that error as it is, even if it is ErrVersionConflict, and the row is left alone. fn
// must not change the key, and what it does to the version is ignored. No connection is held while fn runs, except in an
// attempt with the lock of LockAfter, and with WithTx.
//
// While a row is contended, callers in this process queue for it in arrival order instead of losing against each other. A
// caller that is too slow is not waited for. A call of Modify in fn would be made again with each attempt, and is not
// undone when the attempt is lost.
//
// If Modify gives up, the error satisfies errors.Is for ErrVersionConflict and ErrRetriesExhausted and holds a
// *ConflictError. If there is no such row, then or in the meantime, it is sql.ErrNoRows, wrapped. A lost connection is as
// for Update. With WithTx there is one attempt, and if it is lost the error is a *ConflictError. The returned item keeps
// the version that was read; see WithTx.
func (t *Table[T]) Modify(ctx context.Context, fn func(item *T) error, key ...any) (*T, error) {
	var item *T
	err := t.t.Operation(ctx, "optimistic.Modify", func(ctx context.Context, op *observe.Op) (err error) {
		m := modification[T]{table: t.t, op: op, fn: fn, key: key}
		if err = m.run(ctx); err == nil {
			item = m.item
		}
		return err
	})
	return item, err
}

// modification is one call of Modify.
type modification[T any] struct {
	table    *versionedTable
	op       *observe.Op
	fn       func(*T) error
	key      []any
	sql      *statements
	caller   contender
	item     *T    // of the last attempt
	declined error // what fn returned, if not nil
}

// errDeclined stands for the error with which fn ended the call.
var errDeclined = errors.New("declined by the callback")

// errUnchanged ends an attempt in which fn has changed nothing.
var errUnchanged = errors.New("nothing to write")

func (m *modification[T]) run(ctx context.Context) error {
	err := m.prepare(ctx)
	if err != nil {
		return fail(err)
	}
	if m.table.InTx() {
		m.op.Attempt(1)
		err = m.attempt(ctx, 1)
	} else {
		err = m.untilWon(ctx)
	}
	if m.declined != nil {
		m.op.CallbackFailed()
		return txn.JoinContext(ctx, m.declined)
	}
	return fail(m.table.at(m.key, err))
}

// prepare returns the error of a call that can't be made.
func (m *modification[T]) prepare(ctx context.Context) (err error) {
	t := m.table
	if m.fn == nil {
		return t.failed(errors.New("the function that modifies the row is nil"))
	}
	if err := t.CheckKey(m.key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return t.failed(err)
	}
	if err := t.CheckFree(ctx, m.key); err != nil {
		return err
	}
	m.sql, err = t.statements(ctx)
	return err
}

func (m *modification[T]) untilWon(ctx context.Context) error {
	t := m.table
	m.caller = contender{queue: t.queue, key: m.key, op: m.op}
	defer m.caller.leave()
	if err := m.caller.enter(ctx); err != nil {
		return err
	}
	row := ConflictError{Table: t.Name.String(), Key: m.key}
	return txn.LockTimeout(retryLost(ctx, t.Policy, row, m.pause, func(n int) error {
		m.op.Attempt(n)
		if t.lockAfter > 0 && n > t.lockAfter {
			return m.lockedAttempt(ctx, n)
		}
		return m.attempt(ctx, n)
	}))
}

// pause waits between attempts. A caller that has waited in the queue does not wait for the backoff as well.
func (m *modification[T]) pause(ctx context.Context, lost int) error {
	if waited, err := m.caller.requeue(ctx); waited || err != nil {
		return err
	}
	return m.table.Policy.Wait(ctx, lost)
}

// attempt tries once, without a lock. The connection goes back to the pool while fn runs.
func (m *modification[T]) attempt(ctx context.Context, n int) error {
	err := m.table.OneStatement(ctx, func(r txn.Runner) error { return m.load(ctx, r, m.sql.load) })
	if err != nil {
		return err
	}
	w, err := m.decide()
	if err != nil {
		return m.finish(ctx, w, n, err)
	}
	err = m.table.OneStatement(ctx, func(r txn.Runner) error {
		err := w.update(ctx, r)
		if last := m.table.InTx() || m.table.Policy.Last(n); err == errStale && last {
			return w.explain(ctx, r, n)
		}
		return err
	})
	return m.finish(ctx, w, n, err)
}

// lockedAttempt tries once with the row locked from the load on. The condition stays: it costs nothing, and a Galera
// cluster has no locks between its nodes.
func (m *modification[T]) lockedAttempt(ctx context.Context, n int) error {
	var w *versionedWrite
	err := m.table.LockAndWriteOnce(ctx, func(r txn.Runner) (err error) {
		if lock := m.sql.writeLock; lock != "" {
			if _, err := r.Exec(ctx, lock); err != nil {
				return err
			}
		}
		if err = m.load(ctx, r, m.sql.loadLocked); err != nil {
			return err
		}
		if w, err = m.decide(); err != nil {
			return err
		}
		return w.update(ctx, r)
	})
	return m.finish(ctx, w, n, err)
}

func (m *modification[T]) load(ctx context.Context, r txn.Runner, query dialect.Statement) error {
	m.item = new(T)
	return m.table.load(ctx, r, query, m.key, reflect.ValueOf(m.item).Elem())
}

// decide lets fn change the item, after the condition has been taken from it. It returns errUnchanged if there is nothing
// to write.
func (m *modification[T]) decide() (*versionedWrite, error) {
	row := reflect.ValueOf(m.item).Elem()
	w, err := m.table.newWrite(row)
	if err != nil {
		return nil, err
	}
	w.sql = m.sql
	before := imageOf(m.table.columns.data, row)
	m.caller.extend(callbackTime)
	if m.declined = m.fn(m.item); m.declined != nil {
		return nil, errDeclined
	}
	m.caller.extend(turnTime)
	if err = w.setColumns(row); err == nil && before.shows(w.args) {
		err = errUnchanged
	}
	return w, err
}

// finish gives the item its new version if its write has won and stands.
func (m *modification[T]) finish(ctx context.Context, w *versionedWrite, n int, err error) error {
	if w == nil {
		return err
	}
	row := reflect.ValueOf(m.item).Elem()
	switch err = w.confirm(ctx, err); {
	case errors.Is(err, errUnchanged):
		w.restoreVersion(row)
		return ctx.Err()
	case err == nil && m.table.InTx():
		w.restoreVersion(row)
	case err == nil:
		w.storeVersion(row)
	case errors.Is(err, errStale):
		return w.conflict(n) // or the row is gone: the next load tells
	}
	return err
}
