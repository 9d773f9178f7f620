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
// Modify queue for a contended row within one Table. Copies of WithTx don't queue.
//
// Called on the pool, in a callback of nogap, for a row that the callback's transaction has locked or written, Update,
// Delete and Modify return an error at once: they would wait for that transaction. Use WithTx with the callback's tx
// there. Get does not wait for locks and is allowed.
//
// A row that is locked for longer than the server lets statements wait is nogap.ErrLockTimeout. If several rows have the
// key, the error is nogap.ErrNotUnique.
//
// A Table is safe for concurrent use. A *T is not: it belongs to one goroutine at a time.
type Table[T any] struct {
	t *versionedTable
}

// NewTable returns the Table of a table, which may be qualified by its schema. It does not use the database: what only
// the server can know is an error of the first call.
//
// The fields of T are mapped to columns as sqlx does it: by their db tags, else by their names in lower case, those of
// embedded structs included; db:"-" leaves a field out. Columns that T does not have are left alone by Update. T must have
// the key and the version column, and none that the server generates, since Update writes them all. Columns that ReadOnly
// names are read and not written.
//
// A column that an atomic.Counter or State of the same *sql.DB changes without counting the version up is an error, here,
// or of the first call if the names of the table are spelt in two ways; see "Together on one table" in the package
// documentation.
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

// WithTx returns the Table for use inside tx, a transaction of the caller's on the same database: its methods run their
// statements there and never try again, since only the owner of a transaction may run it again. Commit is the caller's;
// until then a nil error means nothing.
//
// In tx an item keeps the version that it was read with, also after Update and Modify have written it, since nobody knows
// whether tx, or a savepoint in it, will be rolled back. So the same struct can be written again after a rollback, in
// another attempt for example. After a write that was not rolled back, a second Update or Delete of the same struct is a
// *ConflictError, in tx and after COMMIT: read the row again before, with Get.
//
// What is read in tx after a write in tx has a version that only tx knows. It is good for further writes there and after
// COMMIT. After a rollback, also one to a savepoint, drop such an item: the integer or timestamp that it holds may become
// the version of somebody else's write.
//
// What is no transaction (nil, a *sql.DB, …; see nogap.Tx) is an error of every method, and nothing is sent.
//
// A transaction under REPEATABLE READ or SERIALIZABLE goes on seeing the row that it lost with, so a new attempt needs a
// new transaction; on some servers a lost write is a serialization failure there, after which RetryOnVersionConflict
// calls its function again, too. With xmin, all writes of a transaction give the row one version: of what was read in tx
// after a write there, write one copy, and only once.
func (t *Table[T]) WithTx(tx nogap.Tx) *Table[T] { return &Table[T]{t.t.in(tx)} }

// Get reads the row with these key values. If there is no such row, the error is sql.ErrNoRows, wrapped.
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
// and gives row and item the next one. With WithTx only the row gets it; see there. The other columns of the table are
// left alone.
//
// If somebody else wrote the row in between, or the same item was written earlier in a transaction, the error is a
// *ConflictError. If the row is gone, it is sql.ErrNoRows, wrapped. If the connection is lost while the statement is under
// way, it is nogap.ErrOutcomeUnknown, unless the version is a random token and reading it back shows that the write was
// applied. After a deadlock or a serialization failure the statement is sent again, outside a transaction, if the row
// still has the version. After any error item is unchanged.
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

// Delete deletes the row if it still has the version that item was read with. The errors are those of Update, except
// that a lost connection always is nogap.ErrOutcomeUnknown. item is left as it is.
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
