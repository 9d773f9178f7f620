package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// change is one write of a row: what it is guarded with, and what it writes.
type change struct {
	table *table
	// args are the values of the swap: first what is written, then the guard.
	args []any
	// guard is the key and, last, the old version.
	guard []any
	// seen is the old version as the item holds it.
	seen any
	// next is the version that is written; after a swap it is what the database has.
	next reflect.Value
}

func (c *change) key() []any {
	n := len(c.table.mapping.key)
	return c.guard[:n:n]
}

func (c *change) setOld(version any) { c.guard[len(c.guard)-1] = version }

var (
	errStale     = errors.New("the guard matched no row")
	errNotUnique = errors.New("rows have the key, which must be unique")
)

// newChange takes the guard from an item.
func (t *table) newChange(item reflect.Value) (*change, error) {
	m := t.mapping
	c := &change{table: t, seen: kept(m.version.value(item))}
	written := len(m.data)
	if t.kind != xmin {
		written++ // the next version
	}
	c.args = make([]any, written+len(m.key)+1)
	c.guard = c.args[written:]
	for i, column := range m.key {
		c.guard[i] = kept(column.value(item))
	}
	if err := m.checkKey(c.key()); err != nil {
		return nil, err
	}
	old, err := t.kind.read(c.seen)
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if t.kind == xmin {
		c.setOld(old) // a number, whatever the field is
		return c, nil
	}
	c.setOld(c.seen)
	if c.next, err = t.kind.next(m.version.typ, old); err != nil {
		return nil, fmt.Errorf("version %v: %w", shown(c.seen), err)
	}
	c.args[written-1] = c.next.Interface()
	return c, nil
}

// take takes what is to be written from the item.
func (c *change) take(item reflect.Value) error {
	m := c.table.mapping
	for i, column := range m.key {
		if is := column.value(item); !equal(is, c.guard[i]) {
			return fmt.Errorf("the callback changed the key column %q from %v to %v", column.name, shown(c.guard[i]), shown(is))
		}
	}
	for i, column := range m.data {
		c.args[i] = column.value(item)
	}
	return nil
}

// equal reports whether two values of one field are the same.
func equal(a, b any) bool {
	switch a.(type) {
	case int64, int, string: // the usual keys, without the cost of reflection
		return a == b
	}
	return reflect.DeepEqual(a, b)
}

// swap writes the row if it still has the old version: else it returns errStale.
func (c *change) swap(ctx context.Context, r txn.Runner, s *statements) error {
	return c.guarded(ctx, r, s, (*change).swapOnce)
}

func (c *change) swapOnce(ctx context.Context, r txn.Runner, s *statements) error {
	args := s.swap.Args(c.args)
	if !s.returning {
		return matched(r.Exec(ctx, s.swap.Text, args...))
	}
	stored := reflect.New(c.table.mapping.version.typ)
	err := r.QueryRow(ctx, s.swap.Text, args, stored.Interface())
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errStale
	case err == nil:
		c.next = stored.Elem()
	}
	return err
}

// remove deletes the row if it still has the old version: else it returns errStale.
func (c *change) remove(ctx context.Context, r txn.Runner, s *statements) error {
	return c.guarded(ctx, r, s, (*change).removeOnce)
}

func (c *change) removeOnce(ctx context.Context, r txn.Runner, s *statements) error {
	return matched(r.Exec(ctx, s.remove.Text, s.remove.Args(c.guard)...))
}

func matched(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	switch n, err := res.RowsAffected(); {
	case err != nil || n == 1:
		return err
	case n > 1:
		return fmt.Errorf("%d %w", n, errNotUnique)
	}
	return errStale
}

// guarded runs a write, and once more if it matched nothing only because its guard spells the version in another way.
func (c *change) guarded(
	ctx context.Context, r txn.Runner, s *statements, write func(*change, context.Context, txn.Runner, *statements) error,
) error {
	err := write(c, ctx, r, s)
	if err == errStale && c.table.kind == timestamp && s.spelling.Text != "" && c.respell(ctx, r, s) {
		err = write(c, ctx, r, s)
	}
	return err
}

// respell makes the guard the stored text of the version that was read. SQLite has no type for times: it compares text,
// and a default such as CURRENT_TIMESTAMP, another driver or another time zone spells the same time in another way.
func (c *change) respell(ctx context.Context, r txn.Runner, s *statements) bool {
	there, text := reflect.New(c.table.mapping.version.typ), ""
	if r.Read(ctx, s.spelling.Text, s.spelling.Args(c.key()), there.Interface(), &text) != nil {
		return false
	}
	if !c.isOld(there.Elem()) {
		return false
	}
	c.setOld(text)
	return true
}

// lost says what a write that matched no row, as its caller's attempt number n, has lost to: the row is gone, or it has
// another version.
func (c *change) lost(ctx context.Context, r txn.Runner, s *statements, n int) error {
	there, err := c.peek(ctx, r, s.peekLatest)
	switch {
	case err == nil && c.isOld(there):
		return fmt.Errorf("the row with key %v still has version %v: a trigger, a rule or a policy of the server held the "+
			"write back", c.key(), shown(c.seen))
	case err == nil:
		return c.conflict(n)
	case errors.Is(err, sql.ErrNoRows):
		return err
	}
	return fmt.Errorf("%w; whether the row is still there could not be read: %w", c.conflict(n), err)
}

// isOld reports whether the row has the old version still.
func (c *change) isOld(there reflect.Value) bool {
	found, err := c.table.kind.read(there.Interface())
	seen, err2 := c.table.kind.read(c.seen)
	return err == nil && err2 == nil && same(found, seen)
}

// store gives the item the version that its row has now.
func (c *change) store(item reflect.Value) {
	reflectx.FieldByIndexes(item, c.table.mapping.version.index).Set(c.next)
}

// peek reads the version that the row has now.
func (c *change) peek(ctx context.Context, r reader, statement dialect.Statement) (reflect.Value, error) {
	there := reflect.New(c.table.mapping.version.typ)
	err := r.Read(ctx, statement.Text, statement.Args(c.key()), there.Interface())
	if errors.Is(err, sql.ErrNoRows) {
		err = noRow(c.key())
	}
	return there.Elem(), err
}

func (c *change) conflict(attempts int) *ConflictError {
	return &ConflictError{Table: c.table.name.String(), Key: c.key(), Version: c.seen, Attempts: attempts}
}
