package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// versionedWrite is one write of a row, on the condition that the row still has the version that was read.
type versionedWrite struct {
	table *versionedTable
	sql   *statements // once it is known
	// args are the values of the UPDATE: first what is written, then the condition.
	args []any
	// condition is the key and, last, the version that was read.
	condition []any
	// read is that version as the item holds it.
	read any
	// readOnly is what the item had in the columns that are never written.
	readOnly []any
	// next is the version that is written; after a write it is what the database has.
	next reflect.Value
	// given says that the item is the caller's, who may have written it before.
	given bool
	// jumps says that it counts the version up by more than one.
	jumps bool
}

// errStale is returned by a write whose condition no row met.
var errStale = errors.New("no row has this key and this version")

// newWrite takes the condition from an item. Its errors say which row they are about.
func (t *versionedTable) newWrite(item reflect.Value) (*versionedWrite, error) {
	m := &t.columns
	w := &versionedWrite{table: t, read: cloneValue(m.version.Get(item)), readOnly: m.readOnlyValues(item)}
	written := len(m.data)
	if t.kind != xminVersion {
		written++ // the next version
	}
	w.args = make([]any, written+len(m.key)+1)
	w.condition = w.args[written:]
	for i, c := range m.key {
		w.condition[i] = cloneValue(c.Get(item))
	}
	if err := t.CheckKey(w.key()); err != nil {
		return nil, err
	}
	version, err := t.kind.driverValue(w.read)
	if err != nil {
		return nil, t.at(w.key(), fmt.Errorf("version: %w", err))
	}
	if t.kind == xminVersion {
		w.expect(version) // a number, whatever the field is
		return w, nil
	}
	w.expect(w.read)
	if w.next, err = t.kind.next(m.version.Type, version); err != nil {
		return nil, t.at(w.key(), fmt.Errorf("version %v: %w", displayed(w.read), err))
	}
	w.args[written-1] = w.next.Interface()
	return w, nil
}

func (w *versionedWrite) key() []any {
	n := len(w.table.columns.key)
	return w.condition[:n:n]
}

// expect makes a version part of the condition.
func (w *versionedWrite) expect(version any) { w.condition[len(w.condition)-1] = version }

// setColumns takes what is written from the item, whose key must still be that of the condition.
func (w *versionedWrite) setColumns(item reflect.Value) error {
	if err := w.check(item); err != nil {
		return err
	}
	for i, c := range w.table.columns.data {
		w.args[i] = c.Get(item)
	}
	return nil
}

// check returns an error if a callback has changed what it must not.
func (w *versionedWrite) check(item reflect.Value) error {
	m := &w.table.columns
	for i, c := range m.key {
		if is := c.Get(item); !equalFields(is, w.condition[i]) {
			return fmt.Errorf("the callback changed the key column %q from %v to %v", c.Name, displayed(w.condition[i]), displayed(is))
		}
	}
	return m.checkReadOnly(item, w.readOnly)
}

// after returns the version that follows on another, which this write makes if it is the last one. Only integers are counted
// up by several.
func (w *versionedWrite) after(version any) (any, error) {
	if w.table.kind != integerVersion {
		return version, nil
	}
	plain, err := w.table.kind.driverValue(version)
	if err != nil {
		return nil, err
	}
	next, err := nextInteger(w.table.columns.version.Type, plain)
	if err != nil {
		return nil, fmt.Errorf("version %v: %w", displayed(version), err)
	}
	return next.Interface(), nil
}

// countUpTo makes the version what is after so many writes in one.
func (w *versionedWrite) countUpTo(version any, writes int) {
	if w.table.kind == integerVersion && writes > 1 {
		w.jumps = true
		w.next = reflect.ValueOf(version)
		w.args[len(w.table.columns.data)] = version
	}
}

// send makes the write by update or delete. It makes it again if the server asks for that after it has undone it, unless
// the transaction is the caller's. Its errors say which row they are about.
func (w *versionedWrite) send(
	ctx context.Context, op *observe.Op, how func(*versionedWrite, context.Context, txn.Runner) error,
) error {
	t := w.table
	if err := t.CheckFree(ctx, w.key()); err != nil {
		return err
	}
	var err error
	if w.sql, err = t.statements(ctx); err != nil {
		return err
	}
	w.given = true
	return t.at(w.key(), t.Statement(ctx, op, func(r txn.Runner) error {
		err := how(w, ctx, r)
		if err == errStale {
			return w.explain(ctx, r, 1)
		}
		return err
	}))
}

// update writes the row. It returns errStale if the row does not have the version any more.
func (w *versionedWrite) update(ctx context.Context, r txn.Runner) error {
	err := w.updateOnce(ctx, r)
	if w.respell(ctx, r, err) {
		err = w.updateOnce(ctx, r)
	}
	return w.noted(ctx, err)
}

func (w *versionedWrite) updateOnce(ctx context.Context, r txn.Runner) error {
	q := &w.sql.update
	if w.jumps {
		q = &w.sql.jump
	}
	if !w.sql.updateReturns {
		return w.execute(ctx, r, q, w.sql.verifies, w.args)
	}
	stored := reflect.New(w.table.columns.version.Type)
	err := r.QueryRow(ctx, q.Text, q.Args(w.args), stored.Interface())
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errStale
	case err == nil:
		w.next = stored.Elem()
	}
	return err
}

// delete deletes the row. It returns errStale if the row does not have the version any more.
func (w *versionedWrite) delete(ctx context.Context, r txn.Runner) error {
	if w.sql.noDelete != nil {
		return w.sql.noDelete
	}
	err := w.execute(ctx, r, &w.sql.delete, w.sql.deleteReturns, w.condition)
	if w.respell(ctx, r, err) {
		err = w.execute(ctx, r, &w.sql.delete, w.sql.deleteReturns, w.condition)
	}
	return w.noted(ctx, err)
}

// execute writes the row with a statement that may return a number for it.
func (w *versionedWrite) execute(ctx context.Context, r txn.Runner, q *dialect.Statement, returns bool, values []any) error {
	wrote, err := txn.WriteOne(ctx, r, returns, q.Text, q.Args(values)...)
	switch {
	case err == nil && !wrote:
		return errStale
	case dialect.Unverified(err):
		return fmt.Errorf("a trigger of the server puts the old version back, or a value does not fit its column: %w", err)
	}
	return err
}

// noted notes that the row is locked now, if the write has succeeded.
func (w *versionedWrite) noted(ctx context.Context, err error) error {
	if err == nil {
		w.table.Wrote(ctx, w.key())
	}
	return err
}

// respell reports whether a write whose condition no row met, with err, is worth another try: then it has made the
// version of the condition the text that is stored. Where times have no type, texts are compared, and a default such as
// CURRENT_TIMESTAMP, another driver or another time zone spells the same time in another way.
func (w *versionedWrite) respell(ctx context.Context, r txn.Runner, err error) bool {
	q := &w.sql.spelling
	if err != errStale || q.Text == "" {
		return false
	}
	there, text := reflect.New(w.table.columns.version.Type), ""
	if r.Read(ctx, q.Text, q.Args(w.key()), there.Interface(), &text) != nil || !w.wasRead(there.Elem()) {
		return false
	}
	w.expect(text)
	return true
}

// explain returns the error of a write whose condition no row met, as its caller's attempt number n: the row is gone, or
// it has another version.
func (w *versionedWrite) explain(ctx context.Context, r txn.Runner, n int) error {
	there, err := w.currentVersion(ctx, r, w.sql.latestVersion)
	switch {
	case err == nil && w.sql.latestLocks:
		w.table.Wrote(ctx, w.key()) // not written, but locked like a row that is
	case errors.Is(err, sql.ErrNoRows):
		return w.noRow(err)
	case err != nil:
		return fmt.Errorf("%w; whether the row is still there could not be read: %w", w.conflict(n), err)
	}
	if w.wasRead(there) {
		return fmt.Errorf("the row still has version %v: a trigger, a rule or a policy of the server prevented the write",
			displayed(w.read))
	}
	return w.conflict(n)
}

// noRow says why there may be no row with the key of the caller's item.
func (w *versionedWrite) noRow(err error) error {
	isZero := func(v any) bool { return v == nil || reflect.ValueOf(v).IsZero() }
	switch {
	case !w.given:
		return err
	case !slices.ContainsFunc(w.key(), func(v any) bool { return !isZero(v) }):
		return fmt.Errorf("%w: the item has the zero key of a new struct, and only a row that is there can be written", err)
	}
	return fmt.Errorf("%w: it was deleted, or the key of the item was changed after it was read", err)
}

// currentVersion reads the version that the row has now.
func (w *versionedWrite) currentVersion(ctx context.Context, r dialect.Reader, q dialect.Statement) (reflect.Value, error) {
	there := reflect.New(w.table.columns.version.Type)
	err := r.Read(ctx, q.Text, q.Args(w.key()), there.Interface())
	return there.Elem(), err
}

// wasRead reports whether a version of the row is the one that was read.
func (w *versionedWrite) wasRead(there reflect.Value) bool {
	return w.table.kind.equal(there.Interface(), w.read)
}

func (w *versionedWrite) conflict(attempts int) *ConflictError {
	return &ConflictError{Table: w.table.Name.String(), Key: w.key(), Version: w.read, Attempts: attempts, given: w.given}
}

// storeVersion gives the item the version that its row has now. It is for a write that stands: in a transaction of the
// caller's nobody knows whether it, or a savepoint in it, will be rolled back, and then another writer could give the row
// the same version.
func (w *versionedWrite) storeVersion(item reflect.Value) { w.setVersion(item, w.next) }

// restoreVersion gives a loaded item the version that was read, whatever a callback has made of it.
func (w *versionedWrite) restoreVersion(item reflect.Value) {
	w.setVersion(item, reflect.ValueOf(w.read))
}

// copyVersion gives one of several items a version.
func (w *versionedWrite) copyVersion(item reflect.Value, version any) {
	w.setVersion(item, reflect.ValueOf(cloneValue(version)))
}

func (w *versionedWrite) setVersion(item, version reflect.Value) {
	reflectx.FieldByIndexes(item, w.table.columns.version.Index).Set(version)
}
