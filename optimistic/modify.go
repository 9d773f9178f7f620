package optimistic

import (
	"context"
	"errors"
	"reflect"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// Modify loads the row with these key values, lets fn change it, and writes it back if nobody else wrote it in
// between. If somebody did, it starts again with the row as it is then, until it wins, MaxAttempts is reached or ctx
// ends. It returns the item as fn left it, with its new version. If the server changes a value, by rounding it or in
// a trigger, the item does not have the changed value: Get returns it.
//
// If fn changes no column that Update writes, nothing is written: no UPDATE is sent, and the row and the returned
// item keep the version that was read. Somebody else may have written or deleted the row since then. Two values are
// the same if the driver is given the same: the result of a Value method, the bytes of a slice, the instant of a time
// and its zone. A value that only the driver understands counts as changed. To count the version up without a change,
// use Update.
//
// fn may be called several times, each time with a freshly loaded item, so it must change the item and nothing else.
// If it returns an error, Modify returns that error as it is, even if it is ErrVersionConflict, and writes nothing.
// fn must not change the key. What it does to the version is ignored. No connection is held while fn runs, except in
// an attempt with the lock of LockAfter, and with WithTx.
//
// While a row is contended, callers in this process queue for it in arrival order instead of losing against each
// other. A caller that is too slow is not waited for. If fn calls Modify for another row, that call is made again with
// each attempt, and is not undone when the attempt is lost.
//
// If Modify gives up, the error satisfies errors.Is for ErrVersionConflict and ErrRetriesExhausted, and has a
// *ConflictError inside. If no row has the key, or the row is deleted meanwhile, the error is sql.ErrNoRows, wrapped.
// A lost connection is as for Update. With WithTx there is one attempt. If it is lost, the error is a *ConflictError.
// The returned item keeps the version that was read; see WithTx.
//
// If ctx ends before the write is sent, Modify returns ctx's error and writes nothing. See [Table] for a write that
// is under way, and for the other errors.
func (t *Table[T]) Modify(ctx context.Context, fn func(item *T) error, key ...any) (*T, error) {
	var item *T
	err := t.t.Operation(ctx, "optimistic.Modify", func(ctx context.Context, op *observe.Op) (err error) {
		item, err = modify(ctx, t.t, op, fn, key)
		return err
	})
	return item, err
}

// modify makes one call of Modify.
func modify[T any](ctx context.Context, t *versionedTable, op *observe.Op, fn func(*T) error, key []any) (*T, error) {
	if fn == nil {
		return nil, fail(t.failed(errors.New("the function that modifies the row is nil")))
	}
	m := modification[T]{table: t, op: op, change: one[T]{t, fn}, key: key}
	err := m.run(ctx)
	if declined := (*declinedError)(nil); errors.As(err, &declined) {
		op.CallbackFailed()
		return nil, txn.JoinContext(ctx, declined.err)
	}
	if err != nil {
		return nil, err
	}
	return m.item, nil
}

// change is what becomes of a loaded item.
type change[T any] interface {
	// of changes an item, of which w has the condition, and returns what is to be written after it has given that to w. It
	// returns errUnchanged if nothing is.
	of(ctx context.Context, item *T, w *versionedWrite) (*T, error)
}

// modification loads, changes and writes a row until it wins.
type modification[T any] struct {
	table  *versionedTable
	op     *observe.Op
	change change[T]
	key    []any
	sql    *statements
	caller contender
	item   *T // of the last attempt
}

// errUnchanged ends an attempt that has changed nothing.
var errUnchanged = errors.New("nothing to write")

// one is the change that one function makes.
type one[T any] struct {
	table *versionedTable
	fn    func(*T) error
}

// declinedError is the error with which a function ended the call.
type declinedError struct{ err error }

func (e *declinedError) Error() string { return e.err.Error() }

func (o one[T]) of(_ context.Context, item *T, w *versionedWrite) (*T, error) {
	row := reflect.ValueOf(item).Elem()
	before := imageOf(o.table.columns.data, row)
	if err := o.fn(item); err != nil {
		return item, &declinedError{err}
	}
	err := w.setColumns(row)
	if err == nil && before.shows(w.args) {
		err = errUnchanged
	}
	return item, err
}

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
	if errors.As(err, new(*declinedError)) {
		return err
	}
	return fail(m.table.at(m.key, err))
}

// prepare returns the error of a call that can't be made.
func (m *modification[T]) prepare(ctx context.Context) (err error) {
	t := m.table
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
	w, err := m.decide(ctx)
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
		if w, err = m.decide(ctx); err != nil {
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

// decide changes the item, after the condition has been taken from it. It returns errUnchanged if there is nothing to
// write.
func (m *modification[T]) decide(ctx context.Context) (w *versionedWrite, err error) {
	if w, err = m.table.newWrite(reflect.ValueOf(m.item).Elem()); err != nil {
		return nil, err
	}
	w.sql = m.sql
	m.caller.extend(callbackTime)
	m.item, err = m.change.of(ctx, m.item, w)
	m.caller.extend(turnTime)
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
