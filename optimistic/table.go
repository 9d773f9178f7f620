package optimistic

import (
	"context"
	"database/sql"
	"reflect"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// Table reads and writes the rows of a table as values of T, a struct with a field for each column that matters. It
// writes a row only if the row still has the version that was read. Make one with NewTable and share it: callers of
// Modify queue for a contended row within one Table. Callers of a copy that WithTx returned don't queue.
//
// # Errors and contexts
//
// These hold for all methods. Each method adds its own.
//
//   - A *ConflictError is returned when the row has another version. errors.Is finds ErrVersionConflict in it. Nothing
//     was written.
//   - sql.ErrNoRows is returned, wrapped, when no row has the key.
//   - nogap.ErrNotUnique is returned when several rows have the key.
//   - nogap.ErrLockTimeout is returned when the row was locked for longer than the server lets a statement wait.
//   - ErrRetriesExhausted is returned when every attempt was lost. Nothing was written.
//   - nogap.ErrOutcomeUnknown is returned when the connection was lost, or was given up, while a statement that writes
//     was under way.
//
// If ctx ends before a statement that writes is sent, nothing was written. If it ends while the statement is under
// way, the method waits for the answer for up to one second. If the answer comes, that is what the method returns: so
// it may return nil although ctx has ended. Without an answer the error is nogap.ErrOutcomeUnknown. A read ends at
// once. The error satisfies errors.Is with ctx's error.
//
// In a callback of nogap, Update, Delete and Modify return an error at once if the callback's transaction has locked
// or written the row, because they would wait for that transaction. Use WithTx with the callback's tx instead. Get
// does not wait for locks and is allowed.
//
// A Table is safe for concurrent use. A *T is not: it belongs to one goroutine at a time.
type Table[T any] struct {
	t *versionedTable
}

// NewTable returns the Table of a table, which may be qualified by its schema. It does not use the database: what
// only the server can know is an error of the first call.
//
// The fields of T are mapped to columns as sqlx does it: by their db tags, else by their names in lower case,
// including the fields of embedded structs; db:"-" leaves a field out. Update leaves columns alone that T does not
// have. Columns that ReadOnly names are read and not written.
//
// NewTable returns an error if T has no field for the key or for the version, if the version's field has a type that
// can't be a version, or if a name or an option is invalid. T must have no column that the server generates, since
// Update writes them all.
//
// It is an error too if an atomic.Counter or State of the same *sql.DB changes a column that the Table writes,
// without counting the version up. If the names of the table are spelt in two ways, the first call returns it. See
// "Together on one table" in the package documentation.
func NewTable[T any](db *sql.DB, name string, opts ...Option) (*Table[T], error) {
	t, err := bind(db, name, reflect.TypeFor[T](), opts)
	if err != nil {
		return nil, fail(err)
	}
	if err := t.noteWriting(); err != nil {
		return nil, fail(t.failed(err))
	}
	return &Table[T]{t}, nil
}

// noteWriting notes which columns the Table writes on which condition. The server itself changes xmin, whoever writes.
func (t *versionedTable) noteWriting() error {
	if t.kind == xminVersion {
		return nil
	}
	return t.Compares(t.columns.version.Name, t.kind == integerVersion, namesOf(t.columns.data))
}

// WithTx returns the Table for use inside tx, a transaction of the caller's on the same database. Its methods run
// their statements there and never try again, since only the owner of a transaction may run it again. The caller
// commits. Before that, a nil error does not mean that anything is stored.
//
// In tx an item keeps the version that it was read with, even after Update and Modify have written it. Nobody knows
// whether tx, or a savepoint in it, will be rolled back. So the same struct can be written again after a rollback, in
// another attempt for example. After a write that was not rolled back, a second Update or Delete of the same struct
// is a *ConflictError, in tx and after COMMIT: read the row again with Get before.
//
// What is read in tx after a write in tx has a version that only tx knows. It can be written again in tx and after
// COMMIT. After a rollback, even one to a savepoint, drop such an item: the integer or timestamp that it has may
// become the version of somebody else's write.
//
// What is no transaction (nil or a *sql.DB, for example; see [nogap.Tx]) makes every method return an error, and
// nothing is sent.
//
// A transaction under REPEATABLE READ or SERIALIZABLE goes on seeing the row with which it lost, so a new attempt
// needs a new transaction. On some servers a lost write is a serialization failure there. RetryOnVersionConflict
// calls its function again after that, too. With xmin, all writes of a transaction give the row one version: of what
// was read in tx after a write there, write one copy, and only once.
func (t *Table[T]) WithTx(tx nogap.Tx) *Table[T] { return &Table[T]{t.t.in(tx)} }

// Get reads the row with these key values. If no row has the key, the error is sql.ErrNoRows, wrapped. See [Table]
// for the other errors. When ctx ends, Get returns ctx's error at once.
func (t *Table[T]) Get(ctx context.Context, key ...any) (*T, error) {
	var item *T
	err := t.t.Operation(ctx, "optimistic.Get", func(ctx context.Context, op *observe.Op) (err error) {
		item, err = t.get(ctx, op, key)
		return fail(err)
	})
	return item, err
}

func (t *Table[T]) get(ctx context.Context, op *observe.Op, key []any) (*T, error) {
	if err := t.t.CheckKey(key); err != nil {
		return nil, err
	}
	s, err := t.t.statements(ctx)
	if err != nil {
		return nil, err
	}
	var item *T
	err = t.t.Statement(ctx, op, func(r txn.Runner) error {
		item = new(T)
		return t.t.load(ctx, r, s.load, key, reflect.ValueOf(item).Elem())
	})
	if err != nil {
		return nil, t.t.at(key, err)
	}
	return item, nil
}

// Update writes all columns of T, except those of ReadOnly, if the row still has the version that item was read with,
// and gives row and item the next one. With WithTx only the row gets it; see there. The other columns of the table
// are left alone.
//
// If somebody else wrote the row in between, or the same item was written earlier in a transaction, the error is a
// *ConflictError. If the row is gone, it is sql.ErrNoRows, wrapped. If the connection is lost while the statement is
// under way, it is nogap.ErrOutcomeUnknown, unless the version is a random token and reading it back shows that the
// write was applied. After a deadlock or a serialization failure the statement is sent again, outside a transaction,
// if the row still has the version. After any error item is unchanged. See [Table] for the other errors and for the
// end of ctx.
func (t *Table[T]) Update(ctx context.Context, item *T) error {
	return t.t.Operation(ctx, "optimistic.Update", func(ctx context.Context, op *observe.Op) error {
		return fail(t.update(ctx, op, item))
	})
}

func (t *Table[T]) update(ctx context.Context, op *observe.Op, item *T) error {
	if item == nil {
		return t.t.nilItem()
	}
	row := reflect.ValueOf(item).Elem()
	w, err := t.t.newWrite(row)
	if err != nil {
		return err
	}
	if err := w.setColumns(row); err != nil {
		return t.t.at(w.key(), err)
	}
	if err := w.confirm(ctx, w.send(ctx, op, (*versionedWrite).update)); err != nil {
		return err
	}
	if !t.t.InTx() {
		w.storeVersion(row)
	}
	return nil
}

// Delete deletes the row if it still has the version that item was read with. It does not change item. Its errors are
// those of [Table.Update], except that a lost connection is always nogap.ErrOutcomeUnknown. See [Table] for the end
// of ctx.
func (t *Table[T]) Delete(ctx context.Context, item *T) error {
	return t.t.Operation(ctx, "optimistic.Delete", func(ctx context.Context, op *observe.Op) error {
		return fail(t.delete(ctx, op, item))
	})
}

func (t *Table[T]) delete(ctx context.Context, op *observe.Op, item *T) error {
	if item == nil {
		return t.t.nilItem()
	}
	w, err := t.t.newWrite(reflect.ValueOf(item).Elem())
	if err != nil {
		return err
	}
	return w.send(ctx, op, (*versionedWrite).delete)
}
